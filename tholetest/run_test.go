package tholetest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// Each broken policy is caught by the case that is for it.
func TestRun_catchesBrokenPolicies(t *testing.T) {
	for _, b := range brokenPolicies {
		t.Run(b.name, func(t *testing.T) {
			t.Parallel()
			found := violationsOf(t, b, b.caught)
			require.NotEmpty(t, found, "%s does not notice", b.caught)
			assert.Contains(t, strings.Join(found, "\n"), b.says)
		})
	}
}

func violationsOf(t *testing.T, b broken, name string) []string {
	o := newOptions(append([]Option{Hooks(b.hooks), ConfigChange(b.change)}, b.opts...))
	o.patience = 2 * time.Second
	for _, c := range cases {
		if c.String() == name {
			require.Empty(t, o.skip(c))
			return c.violations(t, b.make, o)
		}
	}
	require.Fail(t, "no such case", name)
	return nil
}

// Every case catches somebody.
func TestRun_everyCaseCanFail(t *testing.T) {
	for _, c := range cases {
		caught := false
		for _, b := range brokenPolicies {
			caught = caught || b.caught == c.String()
		}
		assert.True(t, caught, "no broken policy is caught by %s", c)
		assert.NotEmpty(t, c.why)
	}
}

// A policy that keeps the contract passes.
func TestRun_passesWhatIsSound(t *testing.T) {
	Run(t, each(good),
		Hooks(func(hook func()) thole.Policy { return &hooked{hook: hook} }),
		ConfigChange(func() (thole.Policy, func()) {
			layers := []thole.Policy{thole.PolicyFunc(good)}
			return thole.Chain(layers...), func() { layers[0] = nil }
		}))
	for name, p := range map[string]func() thole.Policy{
		"gate":                func() thole.Policy { return &gate{limit: 3, full: thole.ErrRejected} },
		"semaphore":           func() thole.Policy { return &semaphore{places: make(chan struct{}, 3), ended: bothErrors} },
		"breaker":             func() thole.Policy { return &countsErrors{panics: true, goexits: true} },
		"breaker with probes": func() thole.Policy { return &prober{ctxFirst: true, returns: true} },
		"retry":               retries(func(ctx context.Context, fn fnType) error { return fn(ctx) }),
		"retry that joins errors": each(func(ctx context.Context, fn fnType) error {
			err := good(ctx, fn)
			if err == nil || ctx.Err() != nil || errors.Is(err, thole.ErrRejected) {
				return err
			}
			again := fn(ctx)
			if again == nil {
				return nil
			}
			return errors.Join(err, again)
		}),
		"wraps errors": each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if err := fn(ctx); err != nil {
				return fmt.Errorf("guarded: %w", err)
			}
			return nil
		}),
		"pause before": each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			select {
			case <-time.After(time.Minute):
				return fn(ctx)
			case <-ctx.Done():
				return bothErrors(ctx)
			}
		}),
		"pause after": each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			err := fn(ctx)
			time.Sleep(time.Second)
			return err
		}),
		"limit with a cause of its own": each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			ctx, cancel := context.WithTimeoutCause(ctx, 50*time.Millisecond, errBusy)
			defer cancel()
			return fn(ctx)
		}),
		"refuses short deadlines": each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			if d, ok := ctx.Deadline(); ok && time.Until(d) < time.Second {
				return thole.Rejection(thole.ReasonExpired, "too late")
			}
			return fn(ctx)
		}),
	} {
		t.Run(name, func(t *testing.T) { Run(t, p) })
	}
}

// A hedge may start all its attempts at once.
func TestRun_passesASoundRace(t *testing.T) {
	Run(t, each(race), Hedges())
}

// race runs fn twice side by side, and returns the first success.
func race(ctx context.Context, fn fnType) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	type ending struct {
		err     error
		aborted bool
		value   any
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	endings := make(chan ending, 2)
	for range 2 {
		go func() {
			end := ending{aborted: true}
			defer func() {
				if end.aborted {
					end.value = recover()
				}
				endings <- end
			}()
			end.err = fn(ctx)
			end.aborted = false
		}()
	}
	var errs []error
	for range 2 {
		switch end := <-endings; {
		case end.aborted && end.value == nil:
			runtime.Goexit()
		case end.aborted:
			panic(end.value)
		case end.err == nil:
			return nil
		default:
			errs = append(errs, end.err)
		}
	}
	return errors.Join(errs...)
}

// The failures of Run itself, as go test prints them, name the clause and why it matters.
func TestRun_failureSaysWhichClauseAndWhy(t *testing.T) {
	const key = "THOLETEST_BROKEN"
	if name := os.Getenv(key); name != "" {
		for _, b := range brokenPolicies {
			if b.name == name {
				Run(t, b.make)
			}
		}
		return
	}
	out := rerun(t, key, "formats the error with %v")
	for _, want := range []string{
		"--- FAIL: TestRun_failureSaysWhichClauseAndWhy/clause3/error_is_reachable",
		"clause 3 of thole.Policy is broken: fn returned \"flaw\", but errors.Is does not find it in \"guarded: flaw\"",
		"It matters: callers, and policies further out, decide by errors.Is",
		"--- SKIP: TestRun_failureSaysWhichClauseAndWhy/clause8/hook_panics",
		"--- PASS: TestRun_failureSaysWhichClauseAndWhy/clause7/panic_goes_up",
	} {
		assert.Contains(t, out, want)
	}
}

// rerun runs the calling test in another process, where it must fail.
func rerun(t *testing.T, key, value string) string {
	cmd := exec.Command(os.Args[0], "-test.run=^"+t.Name()+"$", "-test.v")
	cmd.Env = append(os.Environ(), key+"="+value)
	out, err := cmd.CombinedOutput()
	require.Error(t, err, "%s", out)
	return string(out)
}

func TestRun_hedgeIsExcepted(t *testing.T) {
	o := newOptions([]Option{Hedges()})
	var skipped []string
	for _, c := range cases {
		if o.skip(c) == "a hedge is excepted" {
			skipped = append(skipped, c.String())
		}
	}
	assert.Equal(t, []string{
		"clause2/success_after_cancel", "clause2/success_after_deadline", "clause3/error_of_ended_call_is_reachable",
		"clause6/runs_do_not_overlap", "clause6/returns_after_fn", "clause6/no_run_after_return",
	}, skipped)
}
