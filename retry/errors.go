package retry

import (
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
)

var (
	// ErrExhausted is matched by the [*Error] of a call whose attempts ran out.
	ErrExhausted = errors.New("retry: attempts exhausted")

	// ErrBudget is matched by the [*Error] of a call that could have been retried, had the
	// budget not been spent. It does not match [thole.ErrRejected], because fn did run.
	ErrBudget = errors.New("retry: budget spent")
)

// Error is what Do returns when it gives up on an error that may be retried. errors.Is and
// errors.As see the error of the last run through it; where a context ended the delay
// before the next run they see that context's error, and its cause, as well; and where a
// policy further in refused the next run, that refusal, but for [thole.ErrRejected]: fn ran.
type Error struct {
	Name     string // the retrier's
	Attempts int    // how many attempts were made, at least 1; one may have been refused

	// Elapsed is the time that retrying added to the call: from the first failure until the
	// call was given up. It does not contain the first run, whose beginning nobody needs to
	// know unless it fails; to look at the clock then would be two thirds of what a call costs
	// that succeeds at once.
	Elapsed time.Duration

	Err error // of the last run of fn

	halt    halt
	ended   error // what ended the delay
	refusal error // of the last attempt, where one before it was made
}

// halt is why a call was given up.
type halt uint8

const (
	goOn        halt = iota
	exhausted        // MaxAttempts
	overBudget       // Budget
	outOfTime        // the next run would come after the deadline or MaxElapsed
	askedToWait      // longer than MaxRetryAfter
	stopped          // the schedule returned backoff.Stop
	interrupted      // a context ended in the delay
	turnedAway       // a policy further in refused the next run
)

func (h halt) String() string {
	return [...]string{
		"gave up", "attempts exhausted", "budget spent", "no time for another",
		"asked to wait too long", "schedule ended", "cut short", "refused",
	}[h]
}

// Error tells how often fn ran, how long it was tried again, why it is not any more, and the
// last error:
// "retry[payments]: 3 attempts, 1.2s of retrying, attempts exhausted: connection refused".
func (e *Error) Error() string {
	attempts := "attempts"
	if e.Attempts == 1 {
		attempts = "attempt"
	}
	why := e.halt.String()
	switch {
	case e.ended != nil && e.refusal != nil:
		why = e.ended.Error() + ": " + e.refusal.Error()
	case e.ended != nil:
		why = e.ended.Error()
	case e.refusal != nil:
		why = e.refusal.Error()
	}
	if d := e.Elapsed.Round(time.Microsecond); d > 0 {
		why = fmt.Sprintf("%v of retrying, %s", d, why)
	}
	who := thole.Description{Kind: kind, Name: e.Name}
	return fmt.Sprintf("%v: %d %s, %s: %v", who, e.Attempts, attempts, why, e.Err)
}

// Unwrap returns the error of the last run.
func (e *Error) Unwrap() error { return e.Err }

// Is matches [ErrExhausted] if the attempts ran out, [ErrBudget] if the budget was spent, the
// error and cause of a context that ended a delay, and what a refusal of the next run matches,
// but for [thole.ErrRejected].
func (e *Error) Is(target error) bool {
	switch target {
	case ErrExhausted:
		return e.halt == exhausted
	case ErrBudget:
		return e.halt == overBudget
	}
	return e.ended != nil && errors.Is(e.ended, target) ||
		e.refusal != nil && target != thole.ErrRejected && errors.Is(e.refusal, target)
}

// As finds what Is matches; the last error is found first.
func (e *Error) As(target any) bool {
	if e.ended == nil && e.refusal == nil || errors.As(e.Err, target) {
		return false
	}
	return e.ended != nil && errors.As(e.ended, target) || e.refusal != nil && errors.As(e.refusal, target)
}

// Reason returns [thole.ReasonBudget] if the budget was spent, the reason of the refusal if the
// next run was refused, otherwise the reason that the last error gives, or "".
func (e *Error) Reason() thole.Reason {
	if e.halt == overBudget {
		return thole.ReasonBudget
	}
	err := e.Err
	if e.refusal != nil {
		err = e.refusal
	}
	reason, _ := thole.ReasonOf(err)
	return reason
}
