package window

import "math/bits"

// Last remembers, of each of the last n calls, which of two marks it bore: whether it
// failed and whether it was slow. It is exact and not safe for concurrent use.
type Last struct {
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

// Add remembers one call, and forgets the oldest if there are too many.
func (l *Last) Add(failed, slow bool) {
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

// Calls returns the number of calls that are remembered.
func (l *Last) Calls() int { return l.n }

// Failed returns how many of the calls remembered failed.
func (l *Last) Failed() int { return l.failed.ones }

// Slow returns how many of the newest n calls were slow.
func (l *Last) Slow(n int) int {
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

// CopyFrom remembers the calls that old remembers, oldest first, as far as there is room.
func (l *Last) CopyFrom(old *Last) {
	for k, i := 0, old.oldest(); k < old.n; k++ {
		l.Add(old.failed.get(i), old.slow.get(i))
		i = (i + 1) % old.size
	}
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
