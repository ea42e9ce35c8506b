package hedge

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/thole-go/thole"
)

// errLost is the cause of the cancellation of an attempt that another one overtook.
var errLost = errors.New("hedge: another attempt was faster")

// errNotStarted is for a call whose context ended before its goroutine had begun.
var errNotStarted = thole.Rejection(thole.ReasonWait, "hedge: ended before the first attempt began")

// Error is returned when more than one attempt ran and all of them failed. An attempt that
// was rejected is not part of it, as Error must not say that nothing ran. errors.Is and
// errors.As reach all errors, that of the first attempt first.
type Error struct {
	Name   string  // of the policy
	Err    error   // of the first attempt
	Others []error // of the attempts after it, in order

	outcome thole.Outcome
}

// Error names the policy and says what each attempt did.
func (e *Error) Error() string {
	var b strings.Builder
	b.WriteString("hedge")
	if e.Name != "" {
		b.WriteString("[" + e.Name + "]")
	}
	fmt.Fprintf(&b, ": all %d attempts failed: %v", 1+len(e.Others), e.Err)
	for _, err := range e.Others {
		b.WriteString("; " + err.Error())
	}
	return b.String()
}

// Unwrap returns the error of the first attempt, and then the others.
func (e *Error) Unwrap() []error { return append([]error{e.Err}, e.Others...) }

// Outcome returns what the error of the first attempt said about the callee's health.
func (e *Error) Outcome() thole.Outcome { return e.outcome }

// failure returns the error of a call none of whose attempts succeeded; errs are theirs, in
// order, nil for one that has not returned. It returns nil if nothing can be said.
func failure(ctx context.Context, name string, errs []error) error {
	var ran []error
	var rejected error
	for _, err := range errs {
		switch {
		case err == nil:
		case !errors.Is(err, thole.ErrRejected):
			ran = append(ran, err)
		case rejected == nil:
			rejected = err
		}
	}
	switch len(ran) {
	case 0:
		return rejected
	case 1:
		return ran[0]
	}
	return &Error{Name: name, Err: ran[0], Others: ran[1:], outcome: thole.OutcomeOf(ctx, ran[0])}
}

// abandoned returns the error of a call that the caller gave up: the context's own, with
// what is known of the attempts if that is more.
func abandoned(ctx context.Context, err error) error {
	if err == nil {
		return ctx.Err()
	}
	if errors.Is(err, ctx.Err()) {
		return err
	}
	return fmt.Errorf("%w (%w)", ctx.Err(), err)
}
