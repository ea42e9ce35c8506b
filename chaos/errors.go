package chaos

import (
	"context"
	"errors"

	"github.com/thole-go/thole"
)

// ErrInjected is matched, through errors.Is, by everything that a [Chaos] injects: whoever
// finds it in a log knows that the fault was made on purpose.
var ErrInjected = errors.New("chaos: injected")

// Error is what a [Chaos] injects: an error, a rejection, or the value of a panic. It matches
// [ErrInjected], and whatever Err matches. A rejection matches thole.ErrRejected too; a delay
// that the context ended matches what ended it, and not thole.ErrRejected. One value serves many
// calls; it must not be changed.
type Error struct {
	Name string // of the policy
	Key  string // of the call, where its key has faults of its own
	Err  error  // Faults.Err of an injected error; nil otherwise

	what     string
	rejected bool
	ended    []error // what ended the wait: the context's error, and its cause if it is another
}

// Error names the policy and says what was injected.
func (e *Error) Error() string {
	text := "chaos"
	if e.Name != "" {
		text += "[" + e.Name + "]"
	}
	text += ": injected " + e.what
	if e.Key != "" {
		text += " for " + e.Key
	}
	for _, err := range e.Unwrap() {
		text += ": " + err.Error()
	}
	return text
}

// Reason returns thole.ReasonChaos.
func (e *Error) Reason() thole.Reason { return thole.ReasonChaos }

// Is reports true for [ErrInjected], and for thole.ErrRejected if this is a rejection.
func (e *Error) Is(target error) bool {
	return target == ErrInjected || e.rejected && target == thole.ErrRejected
}

// Unwrap returns Err, or what ended an injected delay: the context's error, and its cause.
func (e *Error) Unwrap() []error {
	if e.Err != nil {
		return []error{e.Err}
	}
	return e.ended
}

// endedDelay is the error of a call whose ctx, which is done, ended while it was delayed. It is no
// rejection, though fn did not run: a destination that is as slow would have been asked.
func endedDelay(ctx context.Context, name, key string) error {
	e := &Error{Name: name, Key: key, what: "delay outlasted the context", ended: []error{ctx.Err()}}
	if cause := context.Cause(ctx); cause != ctx.Err() {
		e.ended = append(e.ended, cause)
	}
	return e
}
