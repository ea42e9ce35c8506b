package thole

import (
	"context"
	"errors"
)

// Ticket is what a [Gate] hands out on Enter and gets back on Leave. Its content belongs
// to the gate alone.
type Ticket struct {
	Stamp uint64
	Start int64
}

// Gate is an optional extension of [Policy], for one whose whole work lies before and
// after a single run of fn: breaker, bulkhead and rate limiters are gates. [Chain] drives
// neighbouring gates in a loop, without a function call nested in a function call for
// each, and with one reading of the clock for all: that is cheaper, and means the same.
//
// Do(ctx, fn) must be equal to [Pass](ctx, gate, fn).
type Gate interface {
	Policy

	// Enter decides whether the call may pass. On a nil error fn runs and Leave follows; on
	// any other error, which must match ErrRejected, neither does. Whoever calls Enter has seen
	// that ctx is not done. An Enter that waits calls Forget on the clock, which may be nil.
	Enter(ctx context.Context, clock *Clock) (Ticket, error)

	// Leave follows exactly once on each Enter that let a call pass, with the same ctx, that
	// Enter's ticket, and the error of what ran inside. After a panic or runtime.Goexit in
	// fn, err is ErrAborted.
	Leave(ctx context.Context, t Ticket, err error, clock *Clock)
}

// ErrAborted is what Leave of a [Gate] is told when fn did not return: it panicked, or
// ended its goroutine by runtime.Goexit. It is a [Failure]. No caller ever gets it.
var ErrAborted = errors.New("thole: fn did not return")

// Pass runs fn through g. It is how a gate writes its Do, if that need not be the last
// nanosecond cheaper.
func Pass(ctx context.Context, g Gate, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	t, err := g.Enter(ctx, nil)
	if err != nil {
		return err
	}
	err = ErrAborted
	defer func() { g.Leave(ctx, t, err, nil) }()
	err = fn(ctx)
	return err
}
