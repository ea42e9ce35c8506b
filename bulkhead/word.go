package bulkhead

import "sync/atomic"

// word is all that admitting a call depends on, in one piece, so that one compare-and-swap
// decides: the limit in the upper half; in the lower half the permits in use, and above
// those a bit that says that callers wait.
//
// The bit makes the lower half larger than any limit. So one comparison finds out that a
// permit is free and that nobody is to be overtaken.
type word uint64

const (
	limitShift = 32
	lowerHalf  = 1<<limitShift - 1
	waitersBit = 1 << 31
	inUseBits  = waitersBit - 1
)

func (w word) limit() int64     { return int64(w >> limitShift) }
func (w word) inUse() int64     { return int64(w & inUseBits) }
func (w word) hasWaiters() bool { return w&waitersBit != 0 }

// admits reports whether a newcomer may take n permits.
func (w word) admits(n int64) bool { return w&lowerHalf+word(n) <= w>>limitShift }

// fits reports whether n permits are free, whoever waits.
func (w word) fits(n int64) bool { return w.inUse()+n <= w.limit() }

// take is w with n more permits in use.
func (w word) take(n int64) word { return w + word(n) }

// withWaiters is w with the bit set or not.
func (w word) withWaiters(waiters bool) word {
	if waiters {
		return w | waitersBit
	}
	return w &^ waitersBit
}

// withLimit is w with another limit.
func (w word) withLimit(limit int64) word { return w&lowerHalf | word(limit)<<limitShift }

// state is a word that goroutines share.
type state struct{ v atomic.Uint64 }

func (s *state) load() word              { return word(s.v.Load()) }
func (s *state) swap(old, new word) bool { return s.v.CompareAndSwap(uint64(old), uint64(new)) }

// enter takes n permits if they are free and nobody waits.
func (s *state) enter(n int64) bool {
	for {
		w := s.load()
		if !w.admits(n) {
			return false
		}
		if s.swap(w, w.take(n)) {
			return true
		}
	}
}

// leave gives n permits back and returns the word after that.
func (s *state) leave(n int64) word { return word(s.v.Add(-uint64(n))) }

// enterOrFlag takes n permits if they are free and nobody waits. If not, it sets the bit, in
// one step with finding that out: each permit given back later is given back to the queue. The
// caller holds the queue's lock, under which alone the bit is cleared.
func (s *state) enterOrFlag(n int64) bool {
	for {
		w := s.load()
		if w.admits(n) {
			if s.swap(w, w.take(n)) {
				return true
			}
		} else if w.hasWaiters() || s.swap(w, w.withWaiters(true)) {
			return false
		}
	}
}

// hand gives n permits, which must fit, to the first waiter; the bit remains if there are
// more. Only the holder of the queue's lock adds permits while the bit is set, so they fit
// still.
func (s *state) hand(n int64, more bool) {
	for {
		w := s.load()
		if s.swap(w, w.take(n).withWaiters(more)) {
			return
		}
	}
}

// unflag clears the bit.
func (s *state) unflag() { s.v.And(^uint64(waitersBit)) }

// resize changes the limit.
func (s *state) resize(limit int64) {
	for {
		w := s.load()
		if s.swap(w, w.withLimit(limit)) {
			return
		}
	}
}
