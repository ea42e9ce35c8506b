package chaos

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/internal/clock"
)

// Chaos is a policy that injects faults while it is enabled. Make one with [New]. It is safe
// for concurrent use.
type Chaos struct {
	base time.Time

	// until is when it ends, in ns since base: off if 0, never if forever.
	until    atomic.Int64
	settings atomic.Pointer[settings]

	calls, rejected, failed, panicked, delayed atomic.Int64
}

const (
	off     = 0
	forever = math.MaxInt64
)

var _ thole.Policy = (*Chaos)(nil)

// New returns a Chaos that is disabled: it injects nothing until [Chaos.Enable] is called. It
// panics if cfg is not valid; see [Config.Validate].
func New(cfg Config) *Chaos {
	c := &Chaos{base: clock.Base()}
	if err := c.Reconfigure(cfg); err != nil {
		panic(err.Error())
	}
	return c
}

// Enable switches the faults on for d, after which they end by themselves; for d ≤ 0, until
// [Chaos.Disable]. If they are on already, the time starts anew. Calls that have begun are
// not concerned.
func (c *Chaos) Enable(d time.Duration) {
	if d <= 0 {
		c.until.Store(forever)
		return
	}
	c.until.Store(int64(time.Since(c.base) + min(d, check.MaxDuration)))
}

// Disable switches the faults off for the calls to come. A call that is being delayed stays
// so.
func (c *Chaos) Disable() { c.until.Store(off) }

// Enabled reports whether faults are on.
func (c *Chaos) Enabled() bool {
	_, on := c.left()
	return on
}

// left returns how long the faults stay on: 0 for without an end.
func (c *Chaos) left() (d time.Duration, on bool) {
	switch until := c.until.Load(); until {
	case off:
		return 0, false
	case forever:
		return 0, true
	default:
		d = time.Duration(until) - time.Since(c.base)
		if d <= 0 {
			c.until.CompareAndSwap(until, off) // the calls to come need not read the clock
			return 0, false
		}
		return d, true
	}
}

// Reconfigure puts cfg in force for the calls to come. Whether faults are on, and the number
// of each key's next call, stay as they are. An invalid cfg is refused whole.
func (c *Chaos) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	for {
		old := c.settings.Load()
		if c.settings.CompareAndSwap(old, newSettings(cfg, old)) {
			return nil
		}
	}
}

// Do runs fn, unless something is injected in its place. If ctx is done already, nothing is
// run, counted or injected, and Do returns ctx.Err(). If ctx ends an injected delay, fn is not run, and
// the error matches ctx's, as that of a destination would that was too slow.
func (c *Chaos) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if c.until.Load() == off {
		return fn(ctx)
	}
	if err := c.inject(ctx); err != nil {
		return err
	}
	return fn(ctx)
}

// inject does to a call what its fate is. It returns nil if fn is to run.
func (c *Chaos) inject(ctx context.Context) error {
	if !c.Enabled() {
		return nil
	}
	s := c.settings.Load()
	l := s.laneOf(ctx)
	f := l.next()
	c.calls.Add(1)
	if f.delay > 0 {
		c.delayed.Add(1)
		if !sleep(ctx, f.delay) {
			return endedDelay(ctx, s.Name, l.key)
		}
	}
	switch f.fault {
	case reject:
		c.rejected.Add(1)
		return l.rejected
	case fail:
		c.failed.Add(1)
		return l.failed
	case panics:
		c.panicked.Add(1)
		panic(l.panicked)
	}
	return nil
}

// sleep reports whether d passed before ctx ended.
func sleep(ctx context.Context, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
