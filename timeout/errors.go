package timeout

import (
	"context"
	"fmt"
	"net"
	"time"

	"github.com/thole-go/thole"
)

// ErrTimeout is matched, through errors.Is, by every error of a call that a [Timeout] of
// this package ended. It does not match thole.ErrRejected: the function ran.
var ErrTimeout error = sentinel{}

type sentinel struct{}

func (sentinel) Error() string        { return "timeout: time limit exceeded" }
func (sentinel) Timeout() bool        { return true }
func (sentinel) Temporary() bool      { return true }
func (sentinel) Reason() thole.Reason { return thole.ReasonTimeout }

// Error is the error of a call that the limit of a [Timeout] ended, and the cause that
// context.Cause gives for the context of such a call. It matches [ErrTimeout] and
// context.DeadlineExceeded, and whatever Err matches.
type Error struct {
	Name  string        // of the policy
	Limit time.Duration // that was exceeded
	Err   error         // what fn returned; nil in a cause
}

var _ net.Error = (*Error)(nil)

// Error names the policy, the limit and what fn said, if that is more than that the
// context was done.
func (e *Error) Error() string {
	text := "timeout"
	if e.Name != "" {
		text += "[" + e.Name + "]"
	}
	text += fmt.Sprintf(": %v exceeded", e.Limit)
	if e.Err != nil && e.Err != context.DeadlineExceeded {
		text += ": " + e.Err.Error()
	}
	return text
}

// Unwrap returns what fn returned.
func (e *Error) Unwrap() error { return e.Err }

// Is reports true for [ErrTimeout] and context.DeadlineExceeded.
func (e *Error) Is(target error) bool {
	return target == ErrTimeout || target == context.DeadlineExceeded
}

// Timeout reports true: the method is part of net.Error, and what net/http asks for.
func (e *Error) Timeout() bool { return true }

// Temporary reports true, as context.DeadlineExceeded does.
func (e *Error) Temporary() bool { return true }

// Reason returns thole.ReasonTimeout.
func (e *Error) Reason() thole.Reason { return thole.ReasonTimeout }

// saysContextEnded reports whether err wraps the error of a context. The timeout of another
// policy does not count: what that has reported is not reported twice. own does count: it
// is the cause that net/http and others return in place of the context's error.
func saysContextEnded(err error, own *Error) bool {
	for err != nil {
		if err == error(own) || err == context.DeadlineExceeded || err == context.Canceled {
			return true
		}
		if _, other := err.(*Error); other {
			return false
		}
		if e, ok := err.(interface{ Is(error) bool }); ok &&
			(e.Is(context.DeadlineExceeded) || e.Is(context.Canceled)) {
			return true
		}
		switch e := err.(type) {
		case interface{ Unwrap() error }:
			err = e.Unwrap()
		case interface{ Unwrap() []error }:
			for _, err := range e.Unwrap() {
				if saysContextEnded(err, own) {
					return true
				}
			}
			return false
		default:
			return false
		}
	}
	return false
}
