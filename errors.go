package thole

import (
	"errors"
	"time"
)

// ErrRejected is matched, through [errors.Is], by every error that means: a policy
// refused the call and did not run fn. The callee was not asked, so the call may be
// sent elsewhere without fear of doing its work twice.
//
// A context that was already done when the call came is reported as that context's
// own error, unadorned.
var ErrRejected = errors.New("thole: call rejected")

// Reason says in one word why a policy ended a call. The set is closed: the same words
// appear in errors, events and metrics.
type Reason string

// The reasons. Each names the policy's finding, not the policy.
const (
	ReasonOpen     Reason = "open"     // a circuit breaker is open
	ReasonIsolated Reason = "isolated" // a circuit breaker was opened by hand
	ReasonFull     Reason = "full"     // no permit and no place in the queue
	ReasonWait     Reason = "wait"     // queued for a permit or token too long
	ReasonLimited  Reason = "limited"  // a rate limit is exceeded
	ReasonBurst    Reason = "burst"    // more tokens asked for than the limiter can ever hold
	ReasonTimeout  Reason = "timeout"  // a policy's own time limit ended the call
	ReasonBudget   Reason = "budget"   // the budget of retries and hedges is spent
	ReasonShed     Reason = "shed"     // dropped by load shedding
	ReasonExpired  Reason = "expired"  // too little of the deadline was left to be worth a try
	ReasonChaos    Reason = "chaos"    // an injected fault
)

// ReasonOf returns the reason that err, or an error in its tree, gives by a method
// Reason() Reason. It reports false when there is none, or that returns "".
func ReasonOf(err error) (Reason, bool) {
	r, ok := find[interface{ Reason() Reason }](err)
	if !ok {
		return "", false
	}
	reason := r.Reason()
	return reason, reason != ""
}

// RetryAfter returns how long the caller should wait before it tries again, as told by
// the first error in err's tree that has a method RetryAfter() time.Duration. It reports
// false when none has. The duration is the time left when asked, so it may be zero.
func RetryAfter(err error) (time.Duration, bool) {
	r, ok := find[interface{ RetryAfter() time.Duration }](err)
	if !ok {
		return 0, false
	}
	return max(r.RetryAfter(), 0), true
}

// Retryable reports whether err, or an error in its tree, says of itself, by a method
// Retryable() bool, that the call may be tried again although it is not a [Failure]: a
// callee that answered 429 is healthy, yet asks to be called later. The first error that
// has the method decides; with none, it is false.
func Retryable(err error) bool {
	r, ok := find[interface{ Retryable() bool }](err)
	return ok && r.Retryable()
}

// find is errors.As without its allocation, which is left to errors with an As method: every
// policy around a failing call asks its error several questions.
func find[T any](err error) (t T, ok bool) {
	for err != nil {
		if t, ok = err.(T); ok {
			return t, true
		}
		if x, is := err.(interface{ As(any) bool }); is {
			target := new(T)
			if x.As(target) {
				return *target, true
			}
		}
		switch x := err.(type) {
		case interface{ Unwrap() error }:
			err = x.Unwrap()
		case interface{ Unwrap() []error }:
			for _, e := range x.Unwrap() {
				if t, ok = find[T](e); ok {
					return t, true
				}
			}
			return t, false
		default:
			return t, false
		}
	}
	return t, false
}

// Rejection makes a sentinel for a policy that refuses calls: it matches [ErrRejected],
// gives the reason through [ReasonOf], and reads as message. Each call makes a new,
// distinct error.
func Rejection(reason Reason, message string) error {
	return &rejection{reason: reason, message: message}
}

type rejection struct {
	reason  Reason
	message string
}

func (r *rejection) Error() string        { return r.message }
func (r *rejection) Reason() Reason       { return r.reason }
func (r *rejection) Is(target error) bool { return target == ErrRejected }
