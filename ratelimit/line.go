package ratelimit

import (
	"context"
	"math"
	"sync"
	"time"

	"github.com/thole-go/thole/internal/check"
)

// line is the queue of those that wait for tokens, first come first served. Nobody in it has
// taken anything: a waiter that leaves early therefore leaves no trace, and those behind move
// up. The first alone knows its time and has set a timer for it; and since whoever takes the
// lock first serves all that are due by then, order does not depend on which goroutine
// wakes up first.
//
// A token counts as taken when it fell due, and not when the waiter's timer fired, a little
// late. So a line at full rate loses nothing to the lateness of timers.
type line struct {
	mu         sync.Mutex
	head, tail *waiter
	len        int
	tokens     int     // what they all want
	timed      *waiter // the head, once it has been told to set its timer
	seen       int64   // when the line was last served
}

type waiter struct {
	n          int
	until      int64 // the last time at which a token is of use
	state      waiterState
	wake       chan struct{} // one place: look again
	next, prev *waiter
}

type waiterState int8

const (
	inLine    waiterState = iota
	left                  // given up by itself
	served                // has its tokens
	refused               // will not get them in time
	tooMany               // the limiter has become too small for it
	excused               // would not get them in time, but the limiter is in shadow now
	elsewhere             // has not got in line, since the limiter has gone into shadow, or out of it
)

// counter is the limiter whose tokens a line waits for. All of it needs the line's lock, which
// open takes and close releases.
type counter interface {
	// open locks, reads the clock, serves who is due, and returns the time.
	open() int64
	close()
	// due returns when the first in line can have n tokens, not before from; false if never.
	due(n int, from int64) (int64, bool)
	// behind returns when a newcomer can have n tokens, after all that are in line.
	behind(n int, now int64) (int64, bool)
	take(n int, at int64)
	// limits returns how many tokens can be taken at once, and whether the limiter is in shadow.
	limits() (most int, shadow bool)
}

// planner foresees the times of calls one behind the other, on a copy of the limiter's state.
type planner interface {
	place(n int, from int64) (int64, bool)
	book(n int, at int64)
}

// serve gives their tokens to all that are due by now.
func (l *line) serve(c counter, now int64) {
	for w := l.head; w != nil; w = l.head {
		at, ok := c.due(w.n, l.seen)
		if !ok || at > now {
			break
		}
		c.take(w.n, at)
		l.remove(w, served)
		l.seen = at // the next one comes after it
	}
	l.seen = max(l.seen, now)
}

// tell makes a new head set its timer. It comes last before the lock is released.
func (l *line) tell() {
	if l.head != nil && l.head != l.timed {
		l.timed = l.head
		l.head.signal()
	}
}

// retime makes the head look at its time again.
func (l *line) retime() { l.timed = nil }

func (l *line) push(n int, until int64) *waiter {
	w := &waiter{n: n, until: until, wake: make(chan struct{}, 1), prev: l.tail}
	if l.tail != nil {
		l.tail.next = w
	} else {
		l.head = w
	}
	l.tail = w
	l.len++
	l.tokens += n
	return w
}

// remove takes w out of the line and tells it why.
func (l *line) remove(w *waiter, why waiterState) {
	if w.prev != nil {
		w.prev.next = w.next
	} else {
		l.head = w.next
	}
	if w.next != nil {
		w.next.prev = w.prev
	} else {
		l.tail = w.prev
	}
	w.next, w.prev = nil, nil
	if l.timed == w {
		l.timed = nil
	}
	l.len--
	l.tokens -= w.n
	w.state = why
	w.signal()
}

func (w *waiter) signal() {
	select {
	case w.wake <- struct{}{}:
	default:
	}
}

// wait gets n tokens, at most maxWait later if that is not negative; ctx has not ended when
// it is called. It returns served, refused, tooMany, excused or elsewhere, or left if ctx ended.
func (l *line) wait(ctx context.Context, c counter, n int, maxWait time.Duration) waiterState {
	now := c.open()
	// Reconfigure may have had the lock since the caller looked.
	if most, shadow := c.limits(); shadow || n > most {
		c.close()
		if shadow {
			return elsewhere
		}
		return tooMany
	}
	last := lastUse(ctx, now, maxWait)
	at, ok := c.behind(n, now)
	if !ok || at > last || tooFar(at, now) {
		c.close()
		return refused
	}
	if at <= now {
		c.take(n, now)
		c.close()
		return served
	}
	w := l.push(n, last)
	var alarm *time.Timer
	for {
		wake := l.alarm(c, w, now)
		if w.state != inLine {
			c.close()
			return w.state
		}
		c.close()
		var fired <-chan time.Time
		if wake < math.MaxInt64 {
			if alarm == nil {
				alarm = time.NewTimer(until(wake, now))
				defer alarm.Stop()
			} else {
				alarm.Reset(until(wake, now))
			}
			fired = alarm.C
		}
		select {
		case <-ctx.Done():
			l.leave(w) // before the line is served: a caller who has gone takes nothing
		case <-w.wake:
		case <-fired:
		}
		now = c.open()
	}
}

// leave takes w out of the line if it has not been served or refused yet.
func (l *line) leave(w *waiter) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if w.state == inLine {
		l.remove(w, left)
	}
}

// alarm returns when w must look again: the head when it is due, another when it is too late.
// It refuses w if that is the case already, since others were served later than foreseen.
func (l *line) alarm(c counter, w *waiter, now int64) int64 {
	if w.state != inLine {
		return 0
	}
	wake := w.until
	if wake < math.MaxInt64 {
		wake++
	}
	if w == l.head {
		at, ok := c.due(w.n, now)
		if ok && at <= w.until {
			l.timed = w
			return at
		}
		wake = now
	}
	if wake <= now {
		l.remove(w, refused)
	}
	return wake
}

// lastUse returns the last time at which tokens are of use to a call with that context and
// that longest wait: before the deadline, since what comes with it comes too late.
func lastUse(ctx context.Context, now int64, maxWait time.Duration) int64 {
	last := int64(math.MaxInt64)
	if maxWait >= 0 {
		last = now + int64(maxWait)
	}
	if deadline, ok := ctx.Deadline(); ok {
		if d := time.Until(deadline); d < check.MaxDuration {
			last = min(last, now+int64(d)-1)
		}
	}
	return last
}

// behind returns when a newcomer can have n tokens after all that are in line.
func (l *line) behind(p planner, n int, now int64) (int64, bool) {
	from := now
	for w := l.head; w != nil; w = w.next {
		at, ok := p.place(w.n, from)
		if !ok {
			return 0, false
		}
		p.book(w.n, at)
		from = at
	}
	return p.place(n, from)
}

// review refuses those in line who cannot be served in time any more, or not at all, after a
// change of the limiter, which can now give at most most tokens at once.
func (l *line) review(p planner, most int, now int64) {
	from := now
	for w := l.head; w != nil; {
		next := w.next
		if w.n > most {
			l.remove(w, tooMany)
		} else if at, ok := p.place(w.n, from); !ok || at > w.until || tooFar(at, now) {
			l.remove(w, refused)
		} else {
			p.book(w.n, at)
			from = at
		}
		w = next
	}
	l.retime()
}

// dismiss ends everybody's wait.
func (l *line) dismiss(why waiterState) {
	for l.head != nil {
		l.remove(l.head, why)
	}
}
