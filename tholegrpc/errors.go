package tholegrpc

import (
	"context"
	"errors"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
)

// ErrExpired is matched by the error of a call that [WithFloor] refused.
var ErrExpired = thole.Rejection(thole.ReasonExpired, "tholegrpc: too little time left")

var (
	errNotRun  = errors.New("tholegrpc: policy returned nil without making an attempt")
	errOnce    = errors.New("tholegrpc: call must not be made twice")
	errLeft    = status.Error(codes.Internal, "tholegrpc: policies did not return")
	errPanic   = errors.New("tholegrpc: policy returned although the handler did not")
	errOverlap = thole.Rejection("", "tholegrpc: a stream is not hedged")
)

// Error is the error of a call to which policies have something to say beyond the status:
// that they refused it, that it was tried three times, that their limit ended it. What they
// said is found by errors.Is and errors.As. gRPC, and status.FromError, see a status: the
// callee's own, unchanged, if it is the callee's error that the policies gave up on, or one
// made of the refusal (see [RejectionCode]), with a google.rpc.RetryInfo detail.
//
// A status error to which policies added nothing is returned as it came.
type Error struct {
	err error
	st  *status.Status // nil: made of err when asked for
}

// Error reads like a status error, with the policies' words.
func (e *Error) Error() string {
	return "rpc error: code = " + e.code().String() + " desc = " + e.err.Error()
}

// Unwrap returns what the policies returned.
func (e *Error) Unwrap() error { return e.err }

func (e *Error) code() codes.Code {
	if e.st != nil {
		return e.st.Code()
	}
	return RejectionCode(e.err)
}

// GRPCStatus returns the status. That of a refusal tells the time left when asked.
func (e *Error) GRPCStatus() *status.Status {
	if e.st != nil {
		return e.st
	}
	code := e.code()
	if errors.Is(e.err, thole.ErrRejected) {
		return withRetryInfo(status.New(code, e.err.Error()), e.err)
	}
	if st, ok := status.FromError(e.err); ok && st.Code() == code {
		return st // with its details
	}
	return status.New(code, e.err.Error())
}

// RejectionCode returns the code of the status that a call gets which a policy ended with
// err, without the callee having a say in it: ResourceExhausted where a rate limit was
// exceeded; DeadlineExceeded for a time limit and where too little time was left; the code of
// the context's error where a context ended; Unavailable for all other rejections, which
// another replica may not share; for an error that is none of these the code of the status in
// its tree, which may be an injected fault's, and without one Unavailable if it has a reason,
// else Unknown.
func RejectionCode(err error) codes.Code {
	switch {
	case errors.Is(err, context.Canceled):
		return codes.Canceled
	case errors.Is(err, context.DeadlineExceeded):
		return codes.DeadlineExceeded
	}
	reason, _ := thole.ReasonOf(err)
	switch reason {
	case thole.ReasonLimited, thole.ReasonBurst:
		return codes.ResourceExhausted
	case thole.ReasonTimeout, thole.ReasonExpired:
		return codes.DeadlineExceeded
	}
	if errors.Is(err, thole.ErrRejected) {
		return codes.Unavailable
	}
	if st, ok := status.FromError(err); ok {
		return st.Code()
	}
	if reason != "" {
		return codes.Unavailable // as an injected fault that has no status
	}
	return codes.Unknown
}

// outward turns the error that came out of the policies into the one that a gRPC caller
// gets. ctx is the caller's.
func outward(ctx context.Context, err error) error {
	plain := thole.Unmark(err)
	if _, ok := plain.(interface{ GRPCStatus() *status.Status }); ok {
		return plain
	}
	if ctxErr := ctx.Err(); ctxErr != nil && errors.Is(err, ctxErr) && !endedItself(err) {
		if plain == ctxErr {
			return status.FromContextError(ctxErr).Err()
		}
		return &Error{err, status.New(status.FromContextError(ctxErr).Code(), plain.Error())}
	}
	if j, ok := judged(err); ok {
		return &Error{plain, statusOf(plain, j)}
	}
	return &Error{err: plain}
}

// statusOf returns the status for an error that policies made of j: the callee's, unless it
// was a time limit that ended the call.
func statusOf(err error, j judgement) *status.Status {
	st := toStatus(j.Unwrap())
	var r interface {
		error
		Reason() thole.Reason
	}
	if st.Code() == codes.DeadlineExceeded || !errors.As(err, &r) || r.Reason() != thole.ReasonTimeout {
		return st
	}
	if inner, _ := judged(r); inner != j { // the reason is another attempt's
		return st
	}
	return status.New(codes.DeadlineExceeded, err.Error())
}

// toStatus returns the status that gRPC would make of err.
func toStatus(err error) *status.Status {
	if st, ok := status.FromError(err); ok {
		return st
	}
	return status.FromContextError(err)
}

// judgement is a verdict or an ended.
type judgement interface {
	error
	Unwrap() error
	origin() *attempt
}

// judged returns the first error in err's tree that policies were given.
func judged(err error) (judgement, bool) {
	var j judgement
	ok := errors.As(err, &j)
	return j, ok
}

// endedItself reports whether the first attempt's error in err's tree is of a context's end.
func endedItself(err error) bool {
	j, _ := judged(err)
	_, ok := j.(*ended)
	return ok
}
