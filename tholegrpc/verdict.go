package tholegrpc

import (
	"context"
	"errors"
	"slices"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"

	"github.com/thole-go/thole"
)

// verdict is how policies see a call's error: with an outcome, and whether another attempt
// may help. status.FromError and errors.As see the error through it.
type verdict struct {
	err     error
	outcome thole.Outcome
	retry   bool
	attempt *attempt // that err is of, where each attempt has its own results
}

func (v *verdict) Error() string          { return v.err.Error() }
func (v *verdict) Unwrap() error          { return v.err }
func (v *verdict) Unmark() error          { return v.err }
func (v *verdict) Outcome() thole.Outcome { return v.outcome }
func (v *verdict) Retryable() bool        { return v.retry }
func (v *verdict) origin() *attempt       { return v.attempt }

// timedVerdict is one of a callee that says when to come again.
type timedVerdict struct {
	verdict
	told time.Duration
	at   time.Time
}

// RetryAfter returns what is left of the time that the callee told.
func (v *timedVerdict) RetryAfter() time.Duration { return max(0, v.told-time.Since(v.at)) }

// ended is how policies see an error that came of the end of the context they gave: each
// has to decide for itself whether that was the caller's doing or its own.
type ended struct {
	err     error
	ctxErr  error
	attempt *attempt
}

func (e *ended) Error() string        { return e.err.Error() }
func (e *ended) Unwrap() error        { return e.err }
func (e *ended) Unmark() error        { return e.err }
func (e *ended) Is(target error) bool { return target == e.ctxErr }
func (e *ended) origin() *attempt     { return e.attempt }

// contextError returns the error of ctx that brought err's code about, or nil.
func contextError(ctx context.Context, code codes.Code) error {
	switch code {
	case codes.Canceled:
		if ctx.Err() == context.Canceled {
			return context.Canceled
		}
	case codes.DeadlineExceeded:
		if ctx.Err() == context.DeadlineExceeded {
			return context.DeadlineExceeded
		}
		// gRPC looks at the clock as well; the timer may be about to fire.
		if d, ok := ctx.Deadline(); ok && time.Until(d) <= 0 {
			return context.DeadlineExceeded
		}
	}
	return nil
}

// ofPolicies reports whether err is what an interceptor of ours further in returned for a call
// that its policies refused or timed out: a matter between policies, who can read it.
func ofPolicies(err error) bool {
	if _, ok := err.(*Error); !ok {
		return false
	}
	reason, _ := thole.ReasonOf(err)
	return reason == thole.ReasonTimeout || errors.Is(err, thole.ErrRejected)
}

// judge returns what policies see of err, the error of a client's attempt that ran under ctx
// and brought trailer.
func (c *config) judge(ctx context.Context, method string, err error, trailer metadata.MD, a *attempt) error {
	st := toStatus(err)
	if ctxErr := contextError(ctx, st.Code()); ctxErr != nil {
		return &ended{err, ctxErr, a}
	}
	if ofPolicies(err) {
		return err
	}
	v := verdict{err: err, attempt: a}
	if callersFault(st) {
		v.outcome = thole.Ignored
		return thole.Permanent(&v)
	}
	v.outcome = c.outcomeOf(method, st)
	if v.outcome == thole.Success {
		return &v
	}
	told, timed, never := retryHint(trailer, st)
	switch {
	case never:
	case st.Code() == codes.Unavailable, slices.Contains(c.retryCodes, st.Code()):
		v.retry = true
	case st.Code() == codes.ResourceExhausted:
		v.retry = timed
	}
	switch {
	case !v.retry:
		return thole.Permanent(&v)
	case timed:
		return &timedVerdict{v, told, time.Now()}
	}
	return &v
}

// judgeFinal returns what policies see of err where there will be no other attempt, whatever
// they think.
func (c *config) judgeFinal(method string, err error) error {
	st := toStatus(err)
	v := &verdict{err: err, outcome: thole.Ignored}
	if !callersFault(st) {
		v.outcome = c.outcomeOf(method, st)
	}
	if v.outcome == thole.Success {
		return v
	}
	return thole.Permanent(v)
}
