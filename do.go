package thole

import (
	"context"
	"sync/atomic"
)

// Do runs fn through p and returns its value. A nil p is no policy.
//
// The value is zero unless the error is nil or an [Answer]. When p runs fn more than once
// side by side (a hedge), the first success claims the result; a later one is told
// context.Canceled, just as if it had been cancelled a moment earlier, and its value is
// dropped. The marks of [Answer] and [Permanent] are taken off the error.
func Do[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error)) (T, error) {
	v, _, err := do(ctx, p, fn)
	return v, Unmark(err)
}

// DoOr is [Do] with an alternative: when the call fails, be it rejected, failed or ended by
// ctx, fallback is called with the caller's ctx and the error (without marks), and what it
// returns is returned. An [Answer] is no failure.
func DoOr[T any](
	ctx context.Context,
	p Policy,
	fn func(context.Context) (T, error),
	fallback func(context.Context, error) (T, error),
) (T, error) {
	v, answered, err := do(ctx, p, fn)
	if answered {
		return v, Unmark(err)
	}
	v, err = fallback(ctx, Unmark(err))
	return v, Unmark(err)
}

// do also reports whether the call was answered: err is nil or an Answer.
func do[T any](ctx context.Context, p Policy, fn func(context.Context) (T, error)) (v T, answered bool, err error) {
	c := claim[T]{ctx: ctx, fn: fn}
	if p == nil {
		p = none
	}
	err = p.Do(ctx, c.run)
	if OutcomeOf(ctx, err) != Success {
		return v, false, err
	}
	return c.take(), true, err
}

var none Policy = newChain(nil)

// claim is the place of one call's result. Attempts may run side by side and end after the
// caller has gone on, so the value is written by the one that takes state from free to
// taken, and read by the caller only once it is written.
type claim[T any] struct {
	ctx   context.Context // the caller's
	fn    func(context.Context) (T, error)
	state atomic.Int32
	value T
}

const (
	claimFree    int32 = iota
	claimTaken         // a success is writing the value
	claimWritten       // the value is there
	claimClosed        // the caller has left without one
)

func (c *claim[T]) run(ctx context.Context) error {
	v, err := c.fn(ctx)
	if err != nil && OutcomeOf(ctx, err) != Success {
		return err
	}
	if !claimBefore(ctx, c.ctx) || !c.state.CompareAndSwap(claimFree, claimTaken) {
		return forfeitBefore(ctx, c.ctx)
	}
	c.value = v
	c.state.Store(claimWritten)
	return err
}

// take returns the value, if an attempt has written one. A policy that reports success of
// its own accord leaves it zero, and then no straggler may write it any more.
func (c *claim[T]) take() (v T) {
	if c.state.CompareAndSwap(claimFree, claimClosed) || c.state.Load() != claimWritten {
		return v
	}
	return c.value
}
