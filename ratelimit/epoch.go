package ratelimit

import (
	"math"
	"sync/atomic"
	"time"
)

// epoch is what the fast path of a limiter needs: its state in one word, and the numbers to
// read it by, which do not change. A word that is handed over to another epoch stays held for
// ever, so a compare-and-swap that began before a change cannot succeed after it.
//
// While the state is in the word a call takes its tokens by a compare-and-swap, and writes
// nothing if it is refused. The slow path takes the state out, under the lock of the line, and
// leaves held; it puts it back when nobody waits and nothing is promised. So nobody passes
// those that wait.
//
// The last 8 bits of the word count the calls admitted, so that counting costs nothing. They
// run over, and laps has what they lose. Every 128 calls are a lap, and the call that ends one
// first makes sure that laps knows of it. So laps is the number of the lap that the bits are in,
// the first being 0, or one less; and they tell whether that number is odd. This rests on a word
// never coming back once a call has been admitted by it: states only go forth in an epoch.
type epoch struct {
	word atomic.Int64

	origin, horizon int64 // ns since base; how many ns from the origin the word can tell
	most            int   // tokens that can be taken at once

	slow    bool // the state does not fit into a word, which stays held
	shadow  bool
	maxWait time.Duration

	laps    atomic.Int64
	counted int64 // calls that the slow path has heard of; the line's lock guards it
}

const (
	// held, in place of a state, says that the slow path has it.
	held = math.MinInt64

	callBits = 8
	callMask = 1<<callBits - 1
	lapBits  = callBits - 1
	lapMask  = 1<<lapBits - 1
)

// seize takes the state out of the word, with the number of calls admitted since it was put
// there; false if the slow path has it already.
func (e *epoch) seize() (word int64, calls int, ok bool) {
	if e.slow {
		return held, 0, false
	}
	if word = e.word.Swap(held); word == held {
		return held, 0, false
	}
	laps := e.laps.Load()
	if odd(laps) != odd(word>>lapBits) {
		// Whoever has come to the end of the lap, and finds the word held, relies on this: the same
		// word may come back, and takes his call then.
		e.laps.CompareAndSwap(laps, laps+1)
		laps++
	}
	sum := laps<<lapBits | word&lapMask
	calls = int(sum - e.counted)
	e.counted = sum
	return word, calls, true
}

// release puts a state, without calls, into the word.
func (e *epoch) release(state int64) { e.word.Store(state | e.counted&callMask) }

// lap lets laps know of the lap that has begun. If the word has changed since the caller read it,
// this may be another lap, or none, and the caller's compare-and-swap fails; if it is held, seize
// lets laps know.
func (e *epoch) lap() {
	laps := e.laps.Load() // before the word: then it is of the same lap or the one before
	if word := e.word.Load(); word != held && odd(laps) != odd(word>>lapBits) {
		e.laps.CompareAndSwap(laps, laps+1)
	}
}

func odd(n int64) bool { return n&1 != 0 }

// another returns the word with a call more, and with its state replaced by the given one.
func another(word, state int64) int64 { return state | (word+1)&callMask }

// rewound is how far the clock must have gone back for it to be another one: that of a synctest
// bubble, in which a limiter is used that was used outside, or in an earlier bubble, which began
// at the same time. There it is as new. Under the lock the one clock never goes back at all.
const rewound = int64(time.Millisecond)
