package lazyctx

import (
	"context"
	"fmt"
	"sync"
	"sync/atomic"
	"time"
)

// Limit is what the contexts of one policy share: its clock, and the cause of an expiry.
type Limit struct {
	base    time.Time
	cause   error
	carrier context.Context // cancelled with cause, for context.Cause to find
}

// NewLimit returns the Limit for deadlines that count from base and whose passing has the
// given cause.
func NewLimit(base time.Time, cause error) *Limit {
	carrier, cancel := context.WithCancelCause(context.Background())
	cancel(cause)
	return &Limit{base: base, cause: cause, carrier: carrier}
}

// The bits of Context.state. A Context with none set is lazy: it is one struct, has no
// timer, and its parent does not know of it.
const (
	made     = 1 << iota // inner is there and answers for the context
	finished             // Cancel was called
	disarmed             // Disarm was called: the deadline does not count any more
	expired              // the deadline passed before that, and inner is about to say so
)

// Context is a lazily made context. It must be set up by one of the Init methods before it
// is used, and not be copied after. All other methods are safe for concurrent use.
type Context struct {
	parent   context.Context
	limit    *Limit        // nil: no deadline
	deadline time.Duration // since limit.base

	state     atomic.Uint32
	stoppable bool
	mu        sync.Mutex // held while inner is made

	// Written under mu before made is set, constant after.
	inner context.Context
	end   ender // cancels inner
}

// An ender cancels the real context. There is one for each way to make it.
type ender interface{ end(cause error) }

type (
	deadlineEnd context.CancelFunc      // of a context with a deadline; knows no cause
	cancelEnd   context.CancelCauseFunc // of one without
)

func (f deadlineEnd) end(error)     { f() }
func (f cancelEnd) end(cause error) { f(cause) }

// InitCancel makes c a context without a deadline.
func (c *Context) InitCancel(parent context.Context) {
	c.parent = parent
}

// InitDeadline makes c a context that expires when its limit's clock shows deadline. The
// parent's own deadline must not be sooner.
func (c *Context) InitDeadline(parent context.Context, limit *Limit, deadline time.Duration) {
	c.parent, c.limit, c.deadline = parent, limit, deadline
}

// InitStoppable is InitDeadline for a deadline that Disarm may call off. Such a context
// hears of its parent's cancellation through a goroutine of its own, as short-lived as the
// cancellation; so a plain deadline is the better choice where it is enough.
func (c *Context) InitStoppable(parent context.Context, limit *Limit, deadline time.Duration) {
	c.parent, c.limit, c.deadline, c.stoppable = parent, limit, deadline, true
}

// Deadline returns the deadline, the parent's if c has none of its own. It stays the same
// when the deadline is called off.
func (c *Context) Deadline() (time.Time, bool) {
	if c.limit == nil {
		return c.parent.Deadline()
	}
	return c.limit.base.Add(c.deadline), true
}

// Done makes the real context if it is not there yet.
func (c *Context) Done() <-chan struct{} { return c.force().Done() }

// Err looks at the parent and the clock as long as the real context is not there. What it
// finds makes the real context, so that the answer stays the same from then on.
func (c *Context) Err() error {
	switch s := c.state.Load(); {
	case s&expired != 0:
		inner := c.force()
		<-inner.Done()
		return inner.Err()
	case s&made != 0:
		return c.inner.Err()
	case s&finished != 0:
		return context.Canceled
	case c.parent.Err() != nil || s&disarmed == 0 && c.passed():
		return c.force().Err()
	}
	return nil
}

// ErrBy is Err by a clock that has been read already.
func (c *Context) ErrBy(clock interface {
	Since(time.Time) time.Duration
}) error {
	if c.state.Load() == 0 && c.limit != nil && clock.Since(c.limit.base) < c.deadline && c.parent.Err() == nil {
		return nil
	}
	return c.Err()
}

// Value asks the parent, with one exception. The keys of the values in contexts have types
// of their own; a bare *int is how context.Cause, and those who derive a child, ask for the
// context that can be cancelled.
func (c *Context) Value(key any) any {
	if _, ok := key.(*int); ok && (c.state.Load()&made != 0 || c.Err() != nil) {
		return c.force().Value(key)
	}
	return c.parent.Value(key)
}

// String prints like the contexts of package context do.
func (c *Context) String() string {
	parent := fmt.Sprintf("%T", c.parent)
	if s, ok := c.parent.(fmt.Stringer); ok {
		parent = s.String()
	}
	if c.limit == nil {
		return parent + ".WithCancel"
	}
	return fmt.Sprintf("%s.WithDeadline(%v [%v])", parent, c.limit.cause, c.deadline-time.Since(c.limit.base))
}

// passed reports whether the clock has reached the deadline.
func (c *Context) passed() bool {
	return c.limit != nil && time.Since(c.limit.base) >= c.deadline
}

// LimitReached reports whether c's own deadline, and not its parent, ended it; and also
// true when the clock has just reached the deadline and the timer is about to say so, for
// fn may look at the clock as well.
func (c *Context) LimitReached() bool {
	if c.Err() == nil {
		return c.passed()
	}
	return c.limit != nil && context.Cause(c) == c.limit.cause
}

// Cancel ends the context: if nothing ended it before, Err is context.Canceled from now
// on, and so it is in all that derives from it. The cause, of a context without a deadline,
// is what context.Cause says. No timer is left behind nor made later.
func (c *Context) Cancel(cause error) {
	if s := c.state.Load(); cause == nil && s&made == 0 && c.state.CompareAndSwap(s, s|finished) {
		return // nobody ever asked for Done: nothing to undo
	}
	if !c.finishUnmade(cause) {
		c.end.end(cause)
	}
}

// Release is Cancel for what takes a method to end the context with.
func (c *Context) Release() { c.Cancel(nil) }

// finishUnmade marks the context as finished, and reports false if there is a real context
// inside that has to be told.
func (c *Context) finishUnmade(cause error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.state.Load()
	if s&made != 0 {
		c.state.Or(finished)
		return s&finished != 0
	}
	if s&finished == 0 && cause != nil {
		// Kept for those who ask later. A parent that was done first stays the reason.
		parent := c.parent
		if parent.Err() == nil {
			parent = context.WithoutCancel(parent)
		}
		inner, cancel := context.WithCancelCause(parent)
		cancel(cause)
		c.inner = inner
		c.state.Or(made)
	}
	c.state.Or(finished)
	return true
}

// Disarm calls the deadline off: a context that has not expired when it returns never will. It
// is for a context made by InitStoppable.
func (c *Context) Disarm() {
	if c.state.Or(disarmed)&made != 0 {
		c.stopTimer()
	}
}

// expire says that the deadline has passed, unless it has been called off: then it reports false.
func (c *Context) expire() bool {
	for {
		s := c.state.Load()
		if s&disarmed != 0 {
			return false
		}
		if c.state.CompareAndSwap(s, s|expired) {
			return true
		}
	}
}

func (c *Context) stopTimer() {
	if s, ok := c.end.(*source); ok {
		s.stopTimer()
	}
}

// force returns the real context, which it makes if need be.
func (c *Context) force() context.Context {
	if c.state.Load()&made != 0 {
		return c.inner
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	switch s := c.state.Load(); {
	case s&made != 0:
		return c.inner
	case s&finished == 0:
		c.makeLive(s)
		// Disarm or Cancel may come in between, by their short cuts: they saw nothing to undo.
		for now := s; now&finished == 0; now = c.state.Load() {
			if now&disarmed != 0 {
				c.stopTimer()
			}
			if c.state.CompareAndSwap(now, now|made) {
				return c.inner
			}
		}
		c.end.end(nil)
	}
	// Whatever becomes of the parent, Err has been Canceled since Cancel.
	inner, cancel := context.WithCancel(context.WithoutCancel(c.parent))
	cancel()
	c.inner = inner
	c.state.Or(made)
	return c.inner
}

// makeLive sets inner to a context that is not cancelled yet.
func (c *Context) makeLive(state uint32) {
	switch {
	case c.limit == nil:
		inner, cancel := context.WithCancelCause(c.parent)
		c.inner, c.end = inner, cancelEnd(cancel)
	case !c.stoppable:
		inner, cancel := context.WithDeadlineCause(c.parent, c.limit.base.Add(c.deadline), c.limit.cause)
		c.inner, c.end = inner, deadlineEnd(cancel)
	default:
		s := &source{of: c}
		c.inner, s.cancel = context.WithCancel(s)
		c.end = s
		s.start(state&disarmed == 0)
	}
}
