package bulkhead

import (
	"context"
	"fmt"

	"github.com/thole-go/thole"
)

// The refusals. Each matches [thole.ErrRejected]: the call did not run.
var (
	// ErrFull: there was no permit, and no place in the queue.
	ErrFull = thole.Rejection(thole.ReasonFull, "bulkhead: full")

	// ErrWait: the caller waited for MaxWait and got no permit.
	ErrWait = thole.Rejection(thole.ReasonWait, "bulkhead: no permit within MaxWait")

	// ErrWeight: the call asked for less than one permit, or for more than Limit, which no
	// wait can satisfy.
	ErrWeight = thole.Rejection(thole.ReasonBurst, "bulkhead: more permits asked for than there are")
)

// Error is what a bulkhead returns for a call that it did not run. It matches
// [thole.ErrRejected] and one of [ErrFull], [ErrWait] and [ErrWeight]; or, where the
// caller's context ended its wait, that context's error and its cause.
//
// It tells no time to retry after: when a permit comes free is for the calls inside to say.
// One value serves many calls; it must not be changed.
type Error struct {
	Name string // the bulkhead's

	reason thole.Reason
	is     error // the sentinel; nil if a context ended the wait
	text   string
	ended  []error // what ended the wait: the context's error, and its cause if it is another
}

// Error names the bulkhead and says what happened.
func (e *Error) Error() string {
	if e.Name == "" {
		return "bulkhead: " + e.text
	}
	return "bulkhead[" + e.Name + "]: " + e.text
}

// Reason returns "full", "wait" (also where the context ended the wait) or "burst" (ErrWeight).
func (e *Error) Reason() thole.Reason { return e.reason }

// Is reports whether target is thole.ErrRejected or this error's sentinel.
func (e *Error) Is(target error) bool {
	return target == thole.ErrRejected || e.is != nil && target == e.is
}

// Unwrap returns what ended the wait, if a context did: its error, and its cause.
func (e *Error) Unwrap() []error { return e.ended }

// endedWait is the error of a caller whose ctx, which is done, ended its wait.
func endedWait(ctx context.Context, name string) error {
	e := &Error{Name: name, reason: thole.ReasonWait, ended: []error{ctx.Err()}}
	e.text = "no permit before the context ended: " + ctx.Err().Error()
	if cause := context.Cause(ctx); cause != nil && cause != ctx.Err() {
		e.ended = append(e.ended, cause)
		e.text += " (" + cause.Error() + ")"
	}
	return e
}

// wrongWeight is the error of a caller that asked for n permits where limit is all there are.
func wrongWeight(n, limit int64, name string) error {
	e := &Error{Name: name, is: ErrWeight, reason: thole.ReasonBurst}
	if n < 1 {
		e.text = fmt.Sprintf("%d permits asked for: want at least 1", n)
	} else {
		e.text = fmt.Sprintf("%d permits asked for, more than the limit of %d", n, limit)
	}
	return e
}
