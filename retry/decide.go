package retry

import (
	"context"
	"errors"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
)

// verdict is what an error means for another run, limits aside.
type verdict uint8

const (
	final    verdict = iota // none: the error goes back as it is
	answered                // none: it is a success
	failed                  // one may help
	refused                 // a policy further in did not run fn, and told when to come again
)

// judge reads the error of a run for a policy that was given ctx. It also returns how long
// the error asks to wait, 0 if it does not.
func judge(ctx context.Context, err error) (verdict, time.Duration) {
	if err != context.Canceled && plain(err) {
		if err == thole.ErrRejected || ctx.Err() != nil || !thole.Repeatable(ctx) {
			return final, 0
		}
		return failed, 0
	}
	outcome := thole.OutcomeOf(ctx, err)
	if outcome == thole.Success {
		return answered, 0
	}
	if thole.IsPermanent(err) || isBackoffPermanent(err) || ctx.Err() != nil || !thole.Repeatable(ctx) {
		return final, 0
	}
	told, tells := thole.RetryAfter(err)
	switch {
	case errors.Is(err, thole.ErrRejected):
		// Without a time to come again, another run would only be refused again. Where the time
		// has come since the refusal it is 0.
		if tells {
			return refused, told
		}
	case outcome == thole.Failure || thole.Retryable(err):
		return failed, told
	}
	return final, 0
}

// plain reports whether err says nothing of itself, as those of errors.New do: it wraps
// nothing and has no method that judge would ask for. To ask each in turn costs 100 ns.
func plain(err error) bool {
	switch err.(type) {
	case interface{ Unwrap() error }, interface{ Unwrap() []error },
		interface{ Is(error) bool }, interface{ As(any) bool },
		interface{ Outcome() thole.Outcome },
		interface{ Retryable() bool }, interface{ RetryAfter() time.Duration }:
		return false
	}
	return true
}

// anyBackoffPermanent is matched by every *backoff.PermanentError; errors.As would allocate.
var anyBackoffPermanent = &backoff.PermanentError{}

func isBackoffPermanent(err error) bool { return errors.Is(err, anyBackoffPermanent) }

// marked returns err so that the edges can take its mark off, if it has that of backoff.
func marked(err error) error {
	if p, ok := err.(*backoff.PermanentError); ok {
		return &backoffMark{error: thole.Permanent(p), bare: p.Err}
	}
	return err
}

// backoffMark is a *backoff.PermanentError with the root's mark on it, whose place an edge
// gives back to the error that the caller of backoff.Permanent had.
type backoffMark struct {
	error
	bare error
}

func (m *backoffMark) Unwrap() error { return m.error }
func (m *backoffMark) Unmark() error { return m.bare }

// wait returns how long to wait before the next run: what the schedule says, or what the
// callee told if that is longer, and then up to a tenth more, so that those who were told
// the same do not come at once. Only the tenth is cut to fit into room. It reports false if
// the wait exceeds room.
func wait(scheduled, told, room time.Duration) (time.Duration, bool) {
	delay := max(scheduled, 0)
	if told > 0 {
		slack := told / 10
		if told <= room {
			slack = min(slack, room-told)
		}
		delay = max(delay, told+time.Duration(rand.Int64N(int64(slack)+1)))
	}
	return delay, delay <= room
}

// room returns how much time there is until the last moment at which a run may begin. It is
// negative if that has passed. left is the time to the deadline, which a run must precede.
func room(maxElapsed, elapsed time.Duration, left time.Duration, deadline bool) time.Duration {
	r := unbounded
	if maxElapsed > 0 {
		r = maxElapsed - elapsed
	}
	if deadline {
		r = min(r, left-1)
	}
	return r
}
