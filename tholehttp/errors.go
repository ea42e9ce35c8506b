package tholehttp

import (
	"context"
	"errors"

	"github.com/thole-go/thole"
)

var (
	errCanceled = errors.New("tholehttp: request canceled")
	errNeither  = errors.New("tholehttp: base RoundTripper returned neither a response nor an error")
	errNotRun   = errors.New("tholehttp: policy returned nil without making an attempt")
	errOnce     = errors.New("tholehttp: request must not be sent twice")
	errBodyUsed = errors.New("tholehttp: request body cannot be sent again")
	errTooLong  = errors.New("tholehttp: body of a failed response cut short in favor of another attempt")
)

// contextError returns err, which came of ctx's end, as an error that matches both ctx's
// error and its cause. The base reports the cause alone, but it is by the former that
// policies tell the caller's own cancellation.
func contextError(ctx context.Context, err error) error {
	ctxErr := ctx.Err()
	if errors.Is(err, ctxErr) {
		return err
	}
	return &endedError{err, ctxErr}
}

// endedError reads like the cause of a context's end.
type endedError struct{ cause, ctxErr error }

func (e *endedError) Error() string   { return e.cause.Error() }
func (e *endedError) Unwrap() []error { return []error{e.cause, e.ctxErr} }
func (e *endedError) Timeout() bool   { return e.ctxErr == context.DeadlineExceeded }
func (e *endedError) Temporary() bool { return e.Timeout() }

// outward turns the error that came out of the policies into the one the caller gets: the
// marks that are for policies go; and because http.Client asks the outermost error alone
// whether it is a timeout, that is made to answer for its tree.
func outward(err error) error {
	for {
		err = thole.Unmark(err)
		if j, ok := err.(*judged); ok {
			err = j.error
			continue
		}
		if l, ok := err.(*localError); ok {
			return l.error
		}
		break
	}
	if _, ok := err.(interface{ Timeout() bool }); ok {
		return err
	}
	var t interface {
		error
		Timeout() bool
	}
	if errors.As(err, &t) && t.Timeout() {
		return &timeoutError{err}
	}
	return err
}

// timeoutError says of err, on the outside, what one in its tree says.
type timeoutError struct{ error }

func (e *timeoutError) Unwrap() error   { return e.error }
func (e *timeoutError) Timeout() bool   { return true }
func (e *timeoutError) Temporary() bool { return true }
