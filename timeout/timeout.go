package timeout

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/lazyctx"
	"github.com/thole-go/thole/internal/stripe"
)

// Timeout is a policy that limits how long a call may take. Make one with [New]. It is safe
// for concurrent use, and holds nothing per call.
type Timeout struct {
	base     time.Time // what deadlines count from; on the monotonic clock
	set      atomic.Pointer[settings]
	calls    stripe.Counter
	timeouts atomic.Int64
}

// settings is one configuration, ready for use.
type settings struct {
	limit time.Duration
	cause *Error
	ctx   *lazyctx.Limit
}

var _ thole.Timed = (*Timeout)(nil)

// New returns a Timeout. It panics if cfg is not valid; see [Config.Validate].
func New(cfg Config) *Timeout {
	t := &Timeout{base: time.Now()}
	if err := t.Reconfigure(cfg); err != nil {
		panic(err.Error())
	}
	return t
}

// Reconfigure puts cfg in force for the calls that begin from now on. A call that is
// running keeps its limit: fn may have read its deadline, and a deadline does not change.
// An invalid cfg is refused whole: the error says why, and all stays as it was.
func (t *Timeout) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cause := &Error{Name: cfg.Name, Limit: cfg.Limit}
	t.set.Store(&settings{limit: cfg.Limit, cause: cause, ctx: lazyctx.NewLimit(t.base, cause)})
	return nil
}

// Do runs fn with a context that expires after the limit, or at ctx's own deadline if that
// is not later; fn then gets ctx itself. It waits for fn, and returns its error, or an
// [*Error] that wraps it if the limit ended the call. A nil error of fn stays nil, however
// late. If ctx is done already, fn does not run, and Do returns ctx.Err().
func (t *Timeout) Do(ctx context.Context, fn func(context.Context) error) error {
	return t.DoTimed(ctx, fn, nil)
}

// DoTimed implements [thole.Timed].
func (t *Timeout) DoTimed(ctx context.Context, fn func(context.Context) error, clock *thole.Clock) error {
	if err := clock.Err(ctx); err != nil {
		return err
	}
	t.calls.Add()
	s := t.set.Load()
	deadline := s.limit
	if clock == nil {
		deadline += time.Since(t.base)
	} else {
		deadline += clock.Since(t.base)
	}
	if callers, ok := ctx.Deadline(); ok && callers.Sub(t.base) <= deadline {
		return fn(ctx)
	}
	c := new(lazyctx.Context)
	if life := thole.LifetimeFrom(ctx); life != nil {
		c.InitStoppable(ctx, s.ctx, deadline)
		return t.doWithin(life, s, c, fn)
	}
	c.InitDeadline(ctx, s.ctx, deadline)
	defer c.Cancel(nil)
	err := fn(c)
	if err != nil {
		err = t.judge(s, c, err)
	}
	return err
}

// doWithin runs fn with a context that lives on, without its time limit, until life ends.
func (t *Timeout) doWithin(life *thole.Lifetime, s *settings, c *lazyctx.Context, fn func(context.Context) error) error {
	adopted := false
	defer func() {
		if !adopted {
			c.Cancel(nil)
		}
	}()
	err := fn(c)
	c.Disarm()
	if err != nil {
		err = t.judge(s, c, err)
	}
	adopted = life.AdoptReleaser(c)
	return err
}

// judge says what the call returns when fn has returned err, which is not nil.
func (t *Timeout) judge(s *settings, c *lazyctx.Context, err error) error {
	if !saysContextEnded(err, s.cause) || !c.LimitReached() || isAnswer(err) {
		return err
	}
	t.timeouts.Add(1)
	if err == error(s.cause) {
		return err // says it all
	}
	return &Error{Name: s.cause.Name, Limit: s.limit, Err: err}
}

// isAnswer reports whether fn marked err as a good answer, which is not to become a failure.
func isAnswer(err error) bool {
	return thole.OutcomeOf(context.Background(), err) == thole.Success
}

// Stats is a snapshot of a [Timeout].
type Stats struct {
	Calls    int // that ran fn, from the beginning; those in flight included
	Timeouts int // calls that the limit ended with an error
}

// Stats returns what happened so far.
func (t *Timeout) Stats() Stats {
	return Stats{Calls: t.calls.Load(), Timeouts: int(t.timeouts.Load())}
}

// Describe returns the policy's kind, name and limit, for thole.Explain and its like.
func (t *Timeout) Describe() thole.Description {
	s := t.set.Load()
	return thole.Description{
		Kind:     "timeout",
		Name:     s.cause.Name,
		Settings: []thole.Setting{{Key: "Limit", Value: s.limit.String()}},
		Limit:    s.limit,
		Blocking: true,
	}
}

// String returns "timeout", or "timeout[name]".
func (t *Timeout) String() string { return t.Describe().String() }
