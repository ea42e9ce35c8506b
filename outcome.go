package thole

import (
	"context"
	"errors"
)

// Outcome is what the end of one call says about the callee's health.
type Outcome int8

const (
	// Success: the callee answered, be the answer welcome or not.
	Success Outcome = iota
	// Failure: the callee did not do its work.
	Failure
	// Ignored: the call says nothing about the callee.
	Ignored
)

// String returns "success", "failure" or "ignored".
func (o Outcome) String() string {
	switch o {
	case Success:
		return "success"
	case Failure:
		return "failure"
	case Ignored:
		return "ignored"
	}
	return "unknown"
}

// OutcomeOf is the default reading of a call's error, for a policy that was given ctx:
//
//   - nil is a Success, and so is an error marked by [Answer];
//   - an error in whose tree one has a method Outcome() Outcome is what that says;
//   - a rejection by a policy further in ([ErrRejected]) is Ignored: the callee was not asked;
//   - context.Canceled while ctx itself is cancelled, or the cause that ctx was cancelled with,
//     is Ignored: the caller lost interest; and so is context.Canceled in an attempt that its
//     hedge has given up, or another was faster than;
//   - everything else, context.DeadlineExceeded included, is a Failure.
func OutcomeOf(ctx context.Context, err error) Outcome {
	if err == nil {
		return Success
	}
	if o, ok := find[interface{ Outcome() Outcome }](err); ok {
		return o.Outcome()
	}
	if errors.Is(err, ErrRejected) {
		return Ignored
	}
	canceled := errors.Is(err, context.Canceled)
	if ctx.Err() == context.Canceled && (canceled || errors.Is(err, context.Cause(ctx))) || canceled && isAbandoned(ctx) {
		return Ignored
	}
	return Failure
}

// Answer marks err as a good answer, such as sql.ErrNoRows: a [Success] to every policy,
// never retried. errors.Is and errors.As see through the mark. Policies pass it on, the
// edges ([Do], [DoOr], the adapters) take it off. Answer(nil) is nil.
func Answer(err error) error {
	if err == nil {
		return nil
	}
	return &answer{err}
}

type answer struct{ err error }

func (a *answer) Error() string    { return a.err.Error() }
func (a *answer) Unwrap() error    { return a.err }
func (a *answer) Unmark() error    { return a.err }
func (a *answer) Outcome() Outcome { return Success }

// Permanent marks err as a failure that must not be retried. errors.Is and errors.As see
// through the mark. Policies pass it on, the edges ([Do], [DoOr], the adapters) take it
// off. Permanent(nil) is nil.
func Permanent(err error) error {
	if err == nil {
		return nil
	}
	return &permanent{err}
}

type permanent struct{ err error }

func (p *permanent) Error() string { return p.err.Error() }
func (p *permanent) Unwrap() error { return p.err }
func (p *permanent) Unmark() error { return p.err }

// IsPermanent reports whether an error in err's tree was marked by [Permanent].
func IsPermanent(err error) bool {
	_, ok := find[*permanent](err)
	return ok
}

// Unmark takes the marks of [Answer] and [Permanent] off the outside of err. It is for
// edges, which hand the error to somebody who does not know the marks. A mark of another
// make comes off too if it has a method Unmark() error.
func Unmark(err error) error {
	for {
		m, ok := err.(interface{ Unmark() error })
		if !ok {
			return err
		}
		err = m.Unmark()
	}
}
