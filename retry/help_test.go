package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

var errBoom = errors.New("boom")

// told is an error of fn that asks for a wait.
type told struct {
	after   time.Duration
	outcome thole.Outcome
	again   bool
}

func (e *told) Error() string             { return "told to wait" }
func (e *told) RetryAfter() time.Duration { return e.after }
func (e *told) Outcome() thole.Outcome    { return e.outcome }
func (e *told) Retryable() bool           { return e.again }

// refusal is a rejection by a policy further in.
type refusal struct{ until time.Time }

func (e *refusal) Error() string             { return "refused" }
func (e *refusal) Is(target error) bool      { return target == thole.ErrRejected }
func (e *refusal) RetryAfter() time.Duration { return time.Until(e.until) }

// script is a fn that returns one error a run, the last one for ever, and remembers when it
// ran and what it was given.
type script struct {
	errs  []error
	start time.Time
	at    []time.Duration
	seen  []thole.Attempt
	ctxs  []context.Context
}

func newScript(errs ...error) *script { return &script{errs: errs, start: time.Now()} }

func (s *script) run(ctx context.Context) error {
	n := len(s.at)
	s.at = append(s.at, time.Since(s.start))
	s.seen = append(s.seen, thole.AttemptFrom(ctx))
	s.ctxs = append(s.ctxs, ctx)
	return s.errs[min(n, len(s.errs)-1)]
}

func (s *script) runs() int { return len(s.at) }

// gaveUp asserts that err is a *retry.Error around last, and returns it.
func gaveUp(t *testing.T, err, last error, attempts int) *retry.Error {
	t.Helper()
	var e *retry.Error
	require.ErrorAs(t, err, &e)
	require.ErrorIs(t, err, last)
	require.Same(t, last, e.Err)
	require.Equal(t, attempts, e.Attempts)
	require.NotErrorIs(t, err, thole.ErrRejected)
	return e
}

// abort runs f in a goroutine of its own, and returns once that ended in whatever way.
func abort(f func()) (panicked any) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() { panicked = recover() }()
		f()
	}()
	<-done
	return panicked
}
