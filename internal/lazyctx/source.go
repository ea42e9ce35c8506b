package lazyctx

import (
	"context"
	"sync"
	"time"
)

// source is the parent of a context whose deadline can be called off. Package context has
// none such: the timer of a WithDeadline context stops only when the context is cancelled,
// and a context that is cancelled through WithCancelCause reads as Canceled, in itself and
// in its children, when it ought to read as DeadlineExceeded.
//
// So this makes use of what package context does when a parent is not one of its own types
// but has an AfterFunc method: it hands over a function that cancels the child, without a
// goroutine, with the Err and the Cause which the parent then has. source keeps the function
// and calls it, when its timer fires or its own parent is done. The child is an ordinary
// cancel context, and so everything below it is the standard library's own.
type source struct {
	of     *Context
	real   real
	cancel context.CancelFunc // of the child

	mu         sync.Mutex
	err        error  // why it ended; constant once set
	own        bool   // it was the deadline that ended it
	over       bool   // no end by timer or parent any more
	fire       func() // cancels the child with err
	timer      *time.Timer
	stopParent func() bool
}

// never is a source's Done channel. It is only ever polled, once, while the child is made.
var never = make(chan struct{})

// start begins to listen for what ends the context: its parent and, unless it was called
// off already, the deadline. The child must be there.
func (s *source) start(armed bool) {
	parent := s.of.parent
	err := parent.Err()
	left := s.of.deadline - time.Since(s.of.limit.base)
	if armed && left <= 0 && (err == nil || s.of.wasFirst(err)) {
		if s.finish(context.DeadlineExceeded, true) {
			return
		}
		armed = false // it was called off just now
	}
	if err != nil {
		s.finish(err, false)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if armed {
		s.timer = time.AfterFunc(left, func() { s.finish(context.DeadlineExceeded, true) })
	}
	if parent.Done() != nil {
		s.stopParent = context.AfterFunc(parent, func() { s.finish(parent.Err(), false) })
	}
}

// finish cancels the child with err, unless the context has ended, or err is that of a
// deadline which has been called off: then it reports false.
func (s *source) finish(err error, deadline bool) bool {
	s.mu.Lock()
	if s.over || deadline && !s.of.expire() {
		s.mu.Unlock()
		return false
	}
	s.over, s.err, s.own = true, err, deadline
	s.release()
	s.mu.Unlock()
	s.fire()
	return true
}

// end cancels the child, and lets go of timer and parent.
func (s *source) end(error) {
	s.mu.Lock()
	s.over = true
	s.release()
	s.mu.Unlock()
	s.cancel()
}

// release needs mu.
func (s *source) release() {
	if s.timer != nil {
		s.timer.Stop()
	}
	if s.stopParent != nil {
		s.stopParent()
	}
}

func (s *source) stopTimer() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.timer != nil {
		s.timer.Stop()
	}
}

// AfterFunc is what package context looks for; see there.
func (s *source) AfterFunc(f func()) (stop func() bool) {
	s.fire = f
	return func() bool { return true }
}

// Done is not nil, so that package context takes the source for something that may end.
func (s *source) Done() <-chan struct{} { return never }

func (s *source) Deadline() (time.Time, bool) { return s.of.Deadline() }

// Err is asked only by the function that cancels the child.
func (s *source) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// Value answers context.Cause's question, after an expiry, with the context that carries
// the cause; else values are the parent's.
func (s *source) Value(key any) any {
	if _, ok := key.(*int); ok && s.expired() {
		if v := s.of.limit.carrier.Value(key); v != nil {
			return v
		}
	}
	return s.of.parent.Value(key)
}

func (s *source) expired() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.own
}
