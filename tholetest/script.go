package tholetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/thole-go/thole"
)

// A Step is what a [Script] does in one call.
type Step struct {
	what  string
	after time.Duration
	deaf  bool
	act   func(context.Context) error
}

// Succeed returns nil.
func Succeed() Step { return Step{what: "succeed"} }

// Fail returns err.
func Fail(err error) Step {
	return Step{what: "fail", act: func(context.Context) error { return err }}
}

// Sleep takes d and then succeeds; if the context ends before, it returns the context's
// error.
func Sleep(d time.Duration) Step { return Succeed().After(d) }

// Hang waits for the context to end, and returns its error.
func Hang() Step {
	return Step{what: "hang", act: func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}}
}

// Panic panics with v.
func Panic(v any) Step {
	return Step{what: "panic", act: func(context.Context) error { panic(v) }}
}

// Goexit ends the goroutine, as t.FailNow does.
func Goexit() Step {
	return Step{what: "goexit", act: func(context.Context) error { runtime.Goexit(); return nil }}
}

// Do calls fn.
func Do(fn func(context.Context) error) Step { return Step{what: "do", act: fn} }

// After makes the step take d before it does what it does. If the context ends meanwhile it
// returns the context's error, unless it is [Step.Deaf].
func (s Step) After(d time.Duration) Step {
	s.after = d
	return s
}

// Deaf makes the step take no notice of the context while it takes its time.
func (s Step) Deaf() Step {
	s.deaf = true
	return s
}

func (s Step) run(ctx context.Context) error {
	if s.after > 0 {
		timer := time.NewTimer(s.after)
		defer timer.Stop()
		done := ctx.Done()
		if s.deaf {
			done = nil
		}
		select {
		case <-timer.C:
		case <-done:
			return ctx.Err()
		}
	}
	if s.act == nil {
		return nil
	}
	return s.act(ctx)
}

// A Script is a dependency that does as it is told, call by call, and remembers what it was
// asked. It is safe for concurrent use.
type Script struct {
	mu        sync.Mutex
	steps     []Step
	byAttempt bool
	calls     []Call
	running   int
	most      int
}

// NewScript returns a Script whose n-th call does the n-th step, whoever makes it. The last
// step is done by all calls from there on; without any, all succeed.
func NewScript(steps ...Step) *Script {
	return &Script{steps: append([]Step(nil), steps...)}
}

// ByAttempt makes the steps those of each caller's attempts: which one is done is told by
// thole.AttemptFrom, so that every caller meets the first step first. It returns s.
func (s *Script) ByAttempt() *Script {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.byAttempt = true
	return s
}

// A Call is what a [Script] remembers of one call.
type Call struct {
	Attempt  thole.Attempt // as the context told
	Target   string        // as the context told
	Deadline time.Time     // of the context; zero if it had none
	Began    time.Time
	Took     time.Duration // until it ended; 0 if it has not
	Ended    bool
	Err      error // that it returned; ErrAborted of package thole if it panicked
}

// Call does the next step. It is the function to give to a policy.
func (s *Script) Call(ctx context.Context) error {
	n, step := s.begin(ctx)
	err := thole.ErrAborted
	defer func() { s.end(n, err) }()
	err = step.run(ctx)
	return err
}

func (s *Script) begin(ctx context.Context) (int, Step) {
	c := Call{Attempt: thole.AttemptFrom(ctx), Target: thole.TargetFrom(ctx), Began: time.Now()}
	c.Deadline, _ = ctx.Deadline()
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(s.calls)
	s.calls = append(s.calls, c)
	s.running++
	s.most = max(s.most, s.running)
	i := n
	if s.byAttempt {
		i = c.Attempt.Number + c.Attempt.Hedge
	}
	if len(s.steps) == 0 {
		return n, Succeed()
	}
	return n, s.steps[min(i, len(s.steps)-1)]
}

func (s *Script) end(n int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running--
	c := &s.calls[n]
	c.Took, c.Err, c.Ended = time.Since(c.Began), err, true
}

// Calls returns what is remembered of each call, in the order in which they began.
func (s *Script) Calls() []Call {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Call(nil), s.calls...)
}

// Count returns how many calls there were.
func (s *Script) Count() int { return len(s.Calls()) }

// Running returns how many calls have not ended.
func (s *Script) Running() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.running
}

// MostRunning returns how many calls were under way at one time, at the most.
func (s *Script) MostRunning() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.most
}

// String lists the calls, one a line, with their times from the first one's start.
func (s *Script) String() string {
	var text strings.Builder
	calls := s.Calls()
	for i, c := range calls {
		fmt.Fprintf(&text, "%d. at %v, attempt %d", i+1, c.Began.Sub(calls[0].Began), c.Attempt.Number)
		if c.Attempt.Hedge > 0 {
			fmt.Fprintf(&text, " hedge %d", c.Attempt.Hedge)
		}
		switch {
		case !c.Ended:
			text.WriteString(": still running")
		case errors.Is(c.Err, thole.ErrAborted):
			fmt.Fprintf(&text, ": did not return, after %v", c.Took)
		default:
			fmt.Fprintf(&text, ": %v, after %v", c.Err, c.Took)
		}
		text.WriteByte('\n')
	}
	return text.String()
}

// AssertAttempts fails t, and reports false, unless s was called want times. The failure
// lists the calls.
func AssertAttempts(t testing.TB, s *Script, want int) bool {
	t.Helper()
	if got := s.Count(); got != want {
		t.Errorf("the dependency was called %d times, want %d:\n%s", got, want, s)
		return false
	}
	return true
}
