package window

import (
	"math/bits"

	"github.com/thole-go/thole/internal/stripe"
)

// Last remembers, of each of the last n calls, which of two marks it bore: whether it
// failed and whether it was slow. It is exact. Pass is safe for concurrent use, beside all
// else too; the other methods are not.
type Last struct {
	passed stripe.Counter // calls told to Pass
	taken  int            // of them, those that have their place among the calls remembered

	size   int
	n      int // calls remembered, at most size
	next   int // where the next call goes
	failed bitset
	slow   bitset
}

// NewLast returns a Last of the last size calls, size at least 1.
func NewLast(size int) *Last {
	return &Last{size: size, failed: newBitset(size), slow: newBitset(size)}
}

// Pass remembers one call that neither failed nor was slow. It takes no lock: where it stands
// among the others does not matter until one with a mark comes, or somebody counts.
func (l *Last) Pass() { l.passed.Add() }

// take gives the calls that passed their place: after what was added before.
func (l *Last) take() {
	passed := l.passed.Load()
	n := passed - l.taken
	if n == 0 {
		return
	}
	l.taken = passed
	l.n = min(l.n+n, l.size)
	n = min(n, l.size) // the newest; those before them are forgotten already
	end := min(l.next+n, l.size)
	l.clear(l.next, end)
	l.clear(0, l.next+n-end)
	l.next = (l.next + n) % l.size
}

// clear takes the marks off the calls in [from, to).
func (l *Last) clear(from, to int) {
	l.failed.clear(from, to)
	l.slow.clear(from, to)
}

// Add remembers one call, and forgets the oldest if there are too many.
func (l *Last) Add(failed, slow bool) {
	l.take()
	l.failed.set(l.next, failed)
	l.slow.set(l.next, slow)
	l.next++
	if l.next == l.size {
		l.next = 0
	}
	l.n = min(l.n+1, l.size)
}

// Size returns the number of calls that are remembered at the most.
func (l *Last) Size() int { return l.size }

// Calls returns the number of calls that are remembered, and how many of them failed.
func (l *Last) Calls() (n, failed int) {
	l.take()
	return l.n, l.failed.ones
}

// Slow returns how many of the newest n calls were slow.
func (l *Last) Slow(n int) int {
	l.take()
	if n >= l.n {
		return l.slow.ones
	}
	slow := l.slow.ones
	for drop, i := l.n-max(n, 0), l.oldest(); drop > 0 && slow > 0; drop-- {
		if l.slow.get(i) {
			slow--
		}
		i = (i + 1) % l.size
	}
	return slow
}

// Resize makes it the last size calls that are remembered. A call that passes meanwhile is not lost.
func (l *Last) Resize(size int) {
	l.take()
	to := NewLast(size)
	for k, i := 0, l.oldest(); k < l.n; k++ {
		to.Add(l.failed.get(i), l.slow.get(i))
		i = (i + 1) % l.size
	}
	l.size, l.n, l.next, l.failed, l.slow = to.size, to.n, to.next, to.failed, to.slow
}

func (l *Last) oldest() int {
	if l.n < l.size {
		return 0
	}
	return l.next
}

// bitset is a fixed set of bits that knows how many are one.
type bitset struct {
	words []uint
	ones  int
}

func newBitset(n int) bitset {
	return bitset{words: make([]uint, (n+bits.UintSize-1)/bits.UintSize)}
}

func (b *bitset) get(i int) bool {
	return b.words[i/bits.UintSize]>>(i%bits.UintSize)&1 != 0
}

func (b *bitset) set(i int, one bool) {
	if b.get(i) == one {
		return
	}
	b.words[i/bits.UintSize] ^= 1 << (i % bits.UintSize)
	if one {
		b.ones++
	} else {
		b.ones--
	}
}

// clear makes the bits in [from, to) zero, a word at a time.
func (b *bitset) clear(from, to int) {
	for b.ones > 0 && from < to {
		next := min(to, from-from%bits.UintSize+bits.UintSize)
		mask := ^uint(0) >> (bits.UintSize - (next - from)) << (from % bits.UintSize)
		word := &b.words[from/bits.UintSize]
		b.ones -= bits.OnesCount(*word & mask)
		*word &^= mask
		from = next
	}
}
