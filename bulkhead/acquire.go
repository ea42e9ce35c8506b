package bulkhead

import (
	"context"
	"sync/atomic"
)

// Acquire takes a permit, waiting for it as the configuration says, and returns its release,
// to be called when the work is done. Calling release again does nothing, but is counted
// (Stats.ReleasedTwice). A permit that is never released is lost.
//
// On an error, which is an [*Error] or, if ctx is done already, ctx.Err(), the bulkhead is
// unchanged and release does nothing; it is never nil.
func (b *Bulkhead) Acquire(ctx context.Context) (release func(), err error) {
	return b.AcquireN(ctx, 1)
}

// AcquireN takes n permits at once, for work that weighs as much as n calls; see
// [Bulkhead.Acquire]. A caller that waits for many permits holds up those behind it, so that
// it gets them in the end; it holds none while it waits.
//
// If n is less than 1, or more than Limit as it is now, AcquireN refuses at once with an
// error that matches [ErrWeight], though Limit may be raised later: nobody knows when. For
// the same reason a caller that waits is refused when Limit falls below its n.
func (b *Bulkhead) AcquireN(ctx context.Context, n int) (release func(), err error) {
	if err := ctx.Err(); err != nil {
		return nothing, err
	}
	// Not a weight that the arithmetic of a word could bear.
	if n < 1 || n > MaxLimit {
		return nothing, b.refuseWeight(int64(n))
	}
	held := int64(n)
	if !b.state.enter(held) {
		if held, err = b.refuseOrWait(ctx, held); err != nil {
			return nothing, err
		}
	}
	return b.releaser(held), nil
}

// TryAcquire takes a permit if one is free and nobody waits for it; it never waits itself.
// See [Bulkhead.Acquire] for release. If ok is false, release does nothing.
func (b *Bulkhead) TryAcquire() (release func(), ok bool) {
	if b.state.enter(1) {
		return b.releaser(1), true
	}
	if b.settings.Load().Shadow {
		b.shadowed.Add(1)
		return nothing, true
	}
	return nothing, false
}

// nothing is the release of those who hold no permit.
func nothing() {}

// releaser returns the function that gives held permits back once.
func (b *Bulkhead) releaser(held int64) func() {
	if held == 0 {
		return nothing
	}
	var released atomic.Bool
	return func() {
		if released.Swap(true) {
			b.twice.Add(1)
			return
		}
		b.release(held)
	}
}
