package ratelimit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

var (
	// ErrLimited is matched by every refusal for want of a token. It matches
	// thole.ErrRejected itself.
	ErrLimited = thole.Rejection(thole.ReasonLimited, "ratelimit: limit exceeded")

	// ErrBurst is matched by the refusal of a call that asked for more tokens than the limiter
	// can ever give at once (Burst, or Limit of a sliding window), or for fewer than none.
	// Waiting does not help. It matches thole.ErrRejected, and not ErrLimited.
	ErrBurst = thole.Rejection(thole.ReasonBurst, "ratelimit: more tokens than the limiter can hold")
)

// never is the RetryAfter of a limiter that denies all, and the Delay of a reservation that
// is not OK: longer than any caller waits, and safe to add to a time.
const never = check.MaxDuration

// LimitError is the refusal for want of a token. It matches [ErrLimited] and
// thole.ErrRejected.
//
// A limiter has one LimitError, and returns it for every refusal: so a refusal allocates
// nothing, and RetryAfter tells of the limiter as it is when asked, not as it was.
type LimitError struct {
	Name string // the limiter's name

	source interface{ retryAfter() time.Duration }
}

// Error returns "ratelimit[name]: limit exceeded".
func (e *LimitError) Error() string { return label(e.Name) + ": limit exceeded" }

// RetryAfter returns the time from now until one token is free for a newcomer, behind those
// that wait already. A call by then is admitted if no other comes before it; one even a
// nanosecond earlier is not. It is 0 if a token is free by now, and 100 years if the limiter
// denies all. For a call that wants more tokens than one it is a lower bound;
// TokenBucket.Reserve tells the exact time.
func (e *LimitError) RetryAfter() time.Duration {
	if e.source == nil {
		return 0
	}
	return e.source.retryAfter()
}

// Reason returns thole.ReasonLimited.
func (e *LimitError) Reason() thole.Reason { return thole.ReasonLimited }

// Is reports whether target is ErrLimited or thole.ErrRejected.
func (e *LimitError) Is(target error) bool {
	return target == ErrLimited || target == thole.ErrRejected
}

// burstError refuses what no wait can help. It has no RetryAfter, so that nobody retries it.
type burstError struct{ name string }

func (e *burstError) Error() string {
	return label(e.name) + ": more tokens asked for than the limiter can hold"
}
func (e *burstError) Reason() thole.Reason { return thole.ReasonBurst }
func (e *burstError) Is(target error) bool {
	return target == ErrBurst || target == thole.ErrRejected
}

// refusals counts the calls that a limiter refuses, and has the errors for them.
type refusals struct {
	rejected atomic.Int64
	limited  atomic.Pointer[LimitError]
	tooLarge atomic.Pointer[burstError]
}

func (r *refusals) setName(name string, l interface{ retryAfter() time.Duration }) {
	r.limited.Store(&LimitError{Name: name, source: l})
	r.tooLarge.Store(&burstError{name: name})
}

// refuse counts a call for which there was no token, and returns its error, which in shadow is
// none.
func (r *refusals) refuse(shadow bool) error {
	r.rejected.Add(1)
	if shadow {
		return nil
	}
	return r.limited.Load()
}

// waited returns the error of a call whose wait ended in that state, and counts it if refused.
func (r *refusals) waited(ctx context.Context, state waiterState, shadow bool) error {
	if state == served {
		return nil
	}
	shadow = shadow || state == excused
	err := r.refuse(shadow)
	switch {
	case shadow:
	case state == left:
		return newWaitError(ctx, r.limited.Load().Name)
	case state == tooMany:
		return r.tooLarge.Load()
	}
	return err
}

// waitError says that ctx ended while the call was in line.
type waitError struct {
	name  string
	err   error // ctx.Err()
	cause error // context.Cause(ctx), if different
}

func newWaitError(ctx context.Context, name string) *waitError {
	e := &waitError{name: name, err: ctx.Err()}
	if cause := context.Cause(ctx); cause != e.err {
		e.cause = cause
	}
	return e
}

func (e *waitError) Error() string {
	text := label(e.name) + ": waiting for a token: " + e.err.Error()
	if e.cause != nil {
		text += ": " + e.cause.Error()
	}
	return text
}
func (e *waitError) Reason() thole.Reason { return thole.ReasonWait }
func (e *waitError) Is(target error) bool {
	return target == ErrLimited || target == thole.ErrRejected
}
func (e *waitError) Unwrap() []error {
	if e.cause != nil {
		return []error{e.err, e.cause}
	}
	return []error{e.err}
}

func label(name string) string {
	return thole.Description{Kind: "ratelimit", Name: name}.String()
}
