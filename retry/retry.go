package retry

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// unbounded is the room for a delay where nothing bounds it.
const unbounded = check.MaxDuration

// Retrier is a [thole.Policy] that runs fn again after a failure. It is safe for concurrent
// use; all that belongs to one call, its schedule of delays too, is kept per call.
type Retrier struct {
	base     time.Time     // what the start of a call is measured from
	own      *thole.Budget // for a Config without one; kept from one Config to the next
	settings atomic.Pointer[settings]
	reconfig sync.Mutex
	counts   counts
}

var _ thole.Timed = (*Retrier)(nil)

// New returns a Retrier. It panics if cfg is invalid (see [Config.Validate]).
func New(cfg Config) *Retrier {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	r := &Retrier{base: time.Now(), own: thole.NewBudget(thole.BudgetConfig{})}
	r.settings.Store(cfg.settings(r.own))
	return r
}

// Reconfigure puts cfg in force for calls that begin from now on; those in progress go on
// as they began. Counts are kept, and so is the retrier's own budget with what is left in
// it. A cfg that is invalid is refused whole.
func (r *Retrier) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	r.reconfig.Lock()
	defer r.reconfig.Unlock()
	r.settings.Store(cfg.settings(r.own))
	return nil
}

// Do runs fn, and runs it again while it fails in a way that another run may mend.
//
// An error that is not to be retried is returned as it is: an Answer, a Permanent one, one
// that RetryIf declines, any after ctx has ended or if ctx says [thole.Once], and one that
// says nothing of the callee's health (see [thole.OutcomeOf]) unless it says itself that it
// is [thole.Retryable]. The rejection of a policy further in is retried only if it tells
// when to come again, and that is neither longer than MaxRetryAfter nor than half of the time
// left; otherwise it too is returned as it is, or, if fn has run before, as what ended the
// retrying of that run's failure. (A call that waits for a breaker to let
// probes through and then has no time left for one is a failed probe: of all those waiting
// the one with the least time left comes first, and would keep the breaker open.)
//
// When Do gives up on an error that could be retried it returns an [*Error] around it: the
// attempts ran out, the budget is spent, or the next delay cannot fit into the deadline of
// ctx, MaxElapsed, MaxRetryAfter or the schedule. That is decided before the delay, never
// after. A ctx that ends in a delay ends it at once.
//
// The first run is given ctx itself (with a mark, under a budget that others share); later
// ones a context from which [thole.AttemptFrom] tells their number. A panic in fn, and
// runtime.Goexit, are not retried.
func (r *Retrier) Do(ctx context.Context, fn func(context.Context) error) error {
	return r.DoTimed(ctx, fn, nil)
}

// DoTimed implements [thole.Timed].
func (r *Retrier) DoTimed(ctx context.Context, fn func(context.Context) error, clock *thole.Clock) error {
	if err := clock.Err(ctx); err != nil {
		return err
	}
	s := r.settings.Load()
	var start time.Duration
	if s.MaxElapsed > 0 {
		start = clock.Since(r.base) // of 45 ns that a first run costs then, 30
	}
	if s.own {
		r.own.Deposit()
	} else {
		r.counts.calls.Add(1)
		ctx = s.Budget.DepositOnce(ctx)
	}
	life := thole.LifetimeFrom(ctx)
	mark := life.Mark()
	err := fn(ctx)
	if err == nil {
		return nil
	}
	c := call{r: r, s: s, clock: clock, start: start, failed: time.Since(r.base), life: life, mark: mark}
	return c.again(ctx, fn, err)
}

// call is a call whose first run has failed.
type call struct {
	r      *Retrier
	s      *settings
	clock  *thole.Clock  // of those further in, too
	start  time.Duration // known if there is a MaxElapsed
	failed time.Duration // when the first run had
	life   *thole.Lifetime
	mark   int // of life before the first run; each run's leftovers lie behind it
	steps  backoff.BackOff
}

// again decides on err, the error of the first run, and makes the further runs.
func (c *call) again(ctx context.Context, fn func(context.Context) error, err error) error {
	attempt := thole.Attempt{}
	var ran error // of the last run that a policy further in did not refuse
	for runs := 1; ; runs++ {
		last, refusal := err, error(nil) // what an Error is about
		if !errors.Is(err, thole.ErrRejected) {
			ran = err
		} else if ran != nil {
			last, refusal = ran, err
		}
		v, told := judge(ctx, err)
		switch {
		case v == answered && runs > 1:
			c.r.counts.recovered.Add(1)
			return err
		case v == final || v == answered || c.s.RetryIf != nil && !c.s.RetryIf(err):
			if refusal != nil {
				return c.giveUp(last, runs, turnedAway, nil, refusal)
			}
			return marked(err)
		}
		delay, halt := c.next(ctx, v, told, runs)
		if halt != goOn {
			c.r.counts.stop(halt)
			if v == refused && refusal == nil {
				return err
			}
			return c.giveUp(last, runs, halt, nil, refusal)
		}
		if runs == 1 {
			attempt.Hedge = thole.AttemptFrom(ctx).Hedge
		}
		attempt.Number = runs
		if !c.pause(ctx, attempt, err, delay) {
			c.r.counts.stop(interrupted)
			return c.giveUp(last, runs, interrupted, ended(ctx), refusal)
		}
		c.r.counts.retries.Add(1)
		c.clock.Forget()
		if err = fn(thole.WithAttempt(ctx, attempt)); err == nil {
			c.r.counts.recovered.Add(1)
			return nil
		}
	}
}

// next decides whether another run follows so many, and after what delay, when the last
// error told to wait. If it says goOn it has withdrawn from the budget.
func (c *call) next(ctx context.Context, v verdict, told time.Duration, runs int) (time.Duration, halt) {
	if c.s.MaxAttempts > 0 && runs >= c.s.MaxAttempts {
		return 0, exhausted
	}
	if told > c.s.MaxRetryAfter {
		return 0, askedToWait
	}
	if c.steps == nil {
		c.steps = c.s.schedule()
	}
	scheduled := c.steps.NextBackOff()
	if scheduled == backoff.Stop {
		return 0, stopped
	}
	room := c.room(ctx)
	if v == refused && room > 0 {
		room /= 2
	}
	delay, fits := wait(scheduled, told, room)
	if !fits {
		return 0, outOfTime
	}
	if !c.s.Budget.Withdraw() {
		return 0, overBudget
	}
	return delay, goOn
}

// room returns how long the next delay may be. It reads the clock only if something bounds it.
func (c *call) room(ctx context.Context) time.Duration {
	var elapsed, left time.Duration
	if c.s.MaxElapsed > 0 {
		elapsed = time.Since(c.r.base) - c.start
	}
	deadline, ok := ctx.Deadline()
	if ok {
		left = time.Until(deadline)
	}
	return room(c.s.MaxElapsed, elapsed, left, ok)
}

// pause spends the time until the next run. It reports false if ctx ended meanwhile. The
// token of a run that will not be goes back to the budget, even if a hook panics.
func (c *call) pause(ctx context.Context, next thole.Attempt, err error, delay time.Duration) (ok bool) {
	defer func() {
		if !ok {
			c.s.Budget.Refund()
		}
	}()
	if c.s.OnRetry != nil {
		c.s.OnRetry(ctx, next, err, delay)
	}
	// Before the delay: what the last run left may be a connection or a permit that others
	// need, and perhaps the next run itself.
	c.life.Rewind(c.mark)
	if delay > 0 {
		c.r.counts.waiting.Add(1)
		defer c.r.counts.waiting.Add(-1)
		sleep(ctx, delay)
	}
	return ctx.Err() == nil
}

// sleep returns after d, or as soon as ctx ends.
func sleep(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

// ended returns the error of a ctx that ended, with its cause if that is another.
func ended(ctx context.Context) error {
	err, cause := ctx.Err(), context.Cause(ctx)
	if cause == nil || cause == err {
		return err
	}
	return fmt.Errorf("%w: %w", err, cause)
}

func (c *call) giveUp(err error, runs int, h halt, ended, refusal error) error {
	return &Error{
		Name: c.s.Name, Attempts: runs, Elapsed: time.Since(c.r.base) - c.failed, Err: err,
		halt: h, ended: ended, refusal: refusal,
	}
}
