package lazyctx

import (
	"context"
	"fmt"
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

// Context is a lazily made context. It must be set up by one of the Init methods before it
// is used, and not be copied after. All other methods are safe for concurrent use.
//
// It is 48 bytes, since each call with a time limit allocates one.
type Context struct {
	parent    context.Context
	limit     *Limit               // nil: no deadline
	deadline  time.Duration        // since limit.base
	real      atomic.Pointer[real] // nil until somebody needs it
	marks     atomic.Uint32
	stoppable bool
}

// real is the context that answers for a Context, once there is one.
type real struct {
	ctx context.Context
	end ender
}

// over stands in for the real context where there was none when Cancel was called.
var over = new(real)

// What is known of a deadline that may be called off.
const (
	disarmed = 1 << iota // Disarm was called before it had passed
	expired              // it passed before that, and the real context is about to say so
)

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
	r, marks := c.real.Load(), c.marks.Load()
	switch {
	case marks&expired != 0:
		ctx := c.force()
		<-ctx.Done()
		return ctx.Err()
	case r == over:
		return context.Canceled
	case r != nil:
		return r.ctx.Err()
	case c.parent.Err() != nil || marks&disarmed == 0 && c.passed():
		return c.force().Err()
	}
	return nil
}

// ErrBy is Err by a clock that has been read already.
func (c *Context) ErrBy(clock interface {
	Since(time.Time) time.Duration
}) error {
	if c.real.Load() == nil && c.limit != nil && c.marks.Load() == 0 &&
		clock.Since(c.limit.base) < c.deadline && c.parent.Err() == nil {
		return nil
	}
	return c.Err()
}

// Value asks the parent, with one exception. The keys of the values in contexts have types
// of their own; a bare *int is how context.Cause, and those who derive a child, ask for the
// context that can be cancelled.
func (c *Context) Value(key any) any {
	if _, ok := key.(*int); ok && (c.real.Load() != nil || c.Err() != nil) {
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

// Cancel ends the context: unless somebody has seen it end before, Err is context.Canceled
// from now on, and so it is in all that derives from it. The cause, of a context without a deadline,
// is what context.Cause says. No timer is left behind nor made later.
func (c *Context) Cancel(cause error) {
	for {
		switch r := c.real.Load(); {
		case r == over:
			return
		case r != nil:
			r.end.end(cause)
			return
		case cause == nil:
			if c.real.CompareAndSwap(nil, over) {
				return // nobody ever asked for Done: nothing to undo
			}
		default:
			if c.real.CompareAndSwap(nil, c.ended(cause)) {
				return
			}
		}
	}
}

// Release is Cancel for what takes a method to end the context with.
func (c *Context) Release() { c.Cancel(nil) }

// Disarm calls the deadline off: a context that has not expired when it returns never will. It
// is for a context made by InitStoppable.
func (c *Context) Disarm() {
	if c.marks.Or(disarmed)&expired == 0 {
		c.stopTimer()
	}
}

func (c *Context) stopTimer() {
	if r := c.real.Load(); r != nil {
		if s, ok := r.end.(*source); ok {
			s.stopTimer()
		}
	}
}

// expire says that the deadline has passed, unless it was called off before: then it reports
// false.
func (c *Context) expire() bool {
	for {
		m := c.marks.Load()
		switch {
		case m&expired != 0:
			return true
		case m&disarmed != 0:
			return false
		case c.marks.CompareAndSwap(m, m|expired):
			return true
		}
	}
}

// force returns the real context, which it makes if need be. Several may do so at the same
// time: the first one's is it.
func (c *Context) force() context.Context {
	for {
		switch r := c.real.Load(); r {
		case nil:
			r = c.make()
			if !c.real.CompareAndSwap(nil, r) {
				r.end.end(nil)
				continue
			}
			if c.marks.Load() == disarmed { // meanwhile, perhaps, when there was no timer to see
				c.stopTimer()
			}
			return r.ctx
		case over:
			// Whatever becomes of the parent, Err has been Canceled since Cancel.
			ctx, cancel := context.WithCancel(context.WithoutCancel(c.parent))
			cancel()
			c.real.CompareAndSwap(over, &real{ctx, deadlineEnd(cancel)})
		default:
			return r.ctx
		}
	}
}

// make returns a real context that nobody has cancelled.
func (c *Context) make() *real {
	parent := c.parent
	switch {
	case c.limit == nil:
		ctx, cancel := context.WithCancelCause(parent)
		return &real{ctx, cancelEnd(cancel)}
	case !c.stoppable:
		if c.wasFirst(parent.Err()) {
			parent = context.WithoutCancel(parent)
		}
		ctx, cancel := context.WithDeadlineCause(parent, c.limit.base.Add(c.deadline), c.limit.cause)
		return &real{ctx, deadlineEnd(cancel)}
	}
	s := &source{of: c}
	s.real.end = s
	s.real.ctx, s.cancel = context.WithCancel(s)
	s.start(c.marks.Load() != disarmed)
	return &s.real
}

// wasFirst reports whether c's own deadline has ended it, and not the parent, whose Err is err,
// where nobody looked until both had: a parent's deadline that has passed was not sooner.
func (c *Context) wasFirst(err error) bool {
	return err == context.DeadlineExceeded && c.passed()
}

// ended returns a real context that was cancelled with cause. A parent that was done first
// stays the reason.
func (c *Context) ended(cause error) *real {
	parent := c.parent
	if parent.Err() == nil {
		parent = context.WithoutCancel(parent)
	}
	ctx, cancel := context.WithCancelCause(parent)
	cancel(cause)
	return &real{ctx, cancelEnd(cancel)}
}
