package tholetest

import (
	"context"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

type fnType = func(context.Context) error

// good keeps the contract and does nothing.
func good(ctx context.Context, fn fnType) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(ctx)
}

// each makes the same function into a new policy each time.
func each(f thole.PolicyFunc) func() thole.Policy { return func() thole.Policy { return f } }

// onHook makes a policy whose hook hears of every failure.
type onHook func(hook func()) thole.Policy

// broken is a policy that breaks the contract in one point, and the case that must notice.
type broken struct {
	name   string
	caught string // the case
	says   string // part of what it says
	make   func() thole.Policy
	hooks  onHook
	change func() (thole.Policy, func())
	opts   []Option
}

var errBusy = errors.New("busy")

// leaksLater makes a retry whose permits, three, are for runs after the first. One is lost when
// such a run does not return.
func leaksLater() thole.Policy {
	var held atomic.Int64
	return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
		if err := ctx.Err(); err != nil {
			return err
		}
		if held.Load() >= 3 {
			return thole.ErrRejected
		}
		err := fn(ctx)
		if err != nil && ctx.Err() == nil {
			held.Add(1)
			err = fn(ctx)
			held.Add(-1)
		}
		return err
	})
}

var brokenPolicies = []broken{
	{name: "rejects everything", caught: "clause0/first_call_runs", says: "does not run fn",
		make: each(func(context.Context, fnType) error { return thole.ErrRejected })},

	{name: "keeps fn in a field that calls share", caught: "clause1/concurrent_use", says: "got the context of call",
		make: func() thole.Policy { return new(sharesFn) }},
	{name: "keeps the last error in a field that calls share", caught: "clause1/concurrent_use", says: "of many at once",
		make: func() thole.Policy { return new(sharesErr) }},

	{name: "loses a success when ctx was cancelled", caught: "clause2/success_after_cancel", says: "context canceled",
		make: each(func(ctx context.Context, fn fnType) error {
			if err := good(ctx, fn); err != nil {
				return err
			}
			return ctx.Err()
		})},
	{name: "loses the success of a later run when ctx was cancelled", caught: "clause2/success_after_cancel", says: "context canceled",
		make: retries(func(ctx context.Context, fn fnType) error {
			err := fn(ctx)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		})},
	{name: "loses a success that came after its limit", caught: "clause2/success_after_deadline", says: "too slow",
		make: each(func(ctx context.Context, fn fnType) error {
			start := time.Now()
			err := good(ctx, fn)
			if time.Since(start) > 10*time.Minute {
				return errors.New("too slow")
			}
			return err
		})},
	{name: "retries, and returns the first error all the same", caught: "clause2/success_after_failure", says: "returned nil when it was run again",
		make: each(func(ctx context.Context, fn fnType) error {
			err := good(ctx, fn)
			if err != nil && ctx.Err() == nil {
				_ = fn(ctx)
			}
			return err
		})},

	{name: "formats the error with %v", caught: "clause3/error_is_reachable", says: "errors.Is does not find it",
		make: each(func(ctx context.Context, fn fnType) error {
			if err := good(ctx, fn); err != nil {
				return fmt.Errorf("guarded: %v", err)
			}
			return nil
		})},
	{name: "swallows errors", caught: "clause3/error_is_reachable", says: "but Do returned nil",
		make: each(func(ctx context.Context, fn fnType) error { _ = good(ctx, fn); return nil })},
	{name: "takes marks off", caught: "clause3/error_is_reachable", says: "(*thole.answer), but errors.Is does not find it",
		make: each(func(ctx context.Context, fn fnType) error { return thole.Unmark(good(ctx, fn)) })},
	{name: "replaces fn's error when the caller cancelled", caught: "clause3/error_of_ended_call_is_reachable", says: "the caller cancelled",
		make: each(func(ctx context.Context, fn fnType) error {
			err := good(ctx, fn)
			if err != nil && ctx.Err() == context.Canceled {
				return ctx.Err()
			}
			return err
		})},
	{name: "replaces fn's error by ctx's", caught: "clause3/error_of_ended_call_is_reachable", says: "does not find it",
		make: each(func(ctx context.Context, fn fnType) error {
			err := good(ctx, fn)
			if err != nil && ctx.Err() != nil {
				return ctx.Err()
			}
			return err
		})},

	{name: "runs fn with a done ctx", caught: "clause4/done_ctx_runs_nothing", says: "yet fn was run",
		make: each(func(ctx context.Context, fn fnType) error { return fn(ctx) })},
	{name: "decorates the error of a done ctx", caught: "clause4/done_ctx_runs_nothing", says: "want ctx.Err() itself",
		make: each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return fmt.Errorf("not run: %w", err)
			}
			return fn(ctx)
		})},
	{name: "says open to a done ctx", caught: "clause4/done_ctx_runs_nothing", says: "after others that had failed: Do returned \"open\"",
		make: func() thole.Policy { return &prober{returns: true} }},
	{name: "says full to a done ctx", caught: "clause4/done_ctx_runs_nothing", says: "under way or waiting: Do returned \"thole: call rejected\"",
		make: func() thole.Policy {
			places := make(chan struct{}, 3)
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				select {
				case places <- struct{}{}:
				default:
					return thole.ErrRejected
				}
				defer func() { <-places }()
				return good(ctx, fn)
			})
		}},
	{name: "takes a probe's place for a done ctx", caught: "clause4/done_ctx_takes_nothing", says: "does not run either: Do returned \"open\"",
		make: func() thole.Policy { return &prober{} }},
	{name: "takes a token for a done ctx", caught: "clause4/done_ctx_takes_nothing", says: "does not run either",
		make: func() thole.Policy {
			var tokens atomic.Int64
			tokens.Store(300)
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				if tokens.Add(-1) < 0 {
					return thole.ErrRejected
				}
				return good(ctx, fn)
			})
		}},
	{name: "rejects with an error of its own", caught: "clause4/rejection_matches", says: "does not match ErrRejected",
		make: func() thole.Policy { return &gate{limit: 3, full: errBusy} }},
	{name: "rejects with nil", caught: "clause4/rejection_matches", says: "yet Do returned nil",
		make: func() thole.Policy { return &gate{limit: 3} }},
	{name: "reports a second run's refusal for the whole call", caught: "clause4/failure_is_no_rejection", says: "matches ErrRejected",
		make: func() thole.Policy {
			var failures atomic.Int64
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				err := good(ctx, fn)
				if err != nil && failures.Add(1) > 20 {
					return errOpen
				}
				return err
			})
		}},
	{name: "a wait that ctx ends is not a rejection", caught: "clause4/ended_wait_matches", says: "does not match ErrRejected",
		make: func() thole.Policy {
			return &semaphore{places: make(chan struct{}, 3), ended: func(ctx context.Context) error { return ctx.Err() }}
		}},
	{name: "a wait that ctx ends does not name ctx's error", caught: "clause4/ended_wait_matches", says: "does not match \"context",
		make: func() thole.Policy {
			return &semaphore{places: make(chan struct{}, 3), ended: func(context.Context) error { return thole.ErrRejected }}
		}},
	{name: "waits on when ctx has ended", caught: "clause4/ended_wait_matches", says: "went on waiting",
		make: func() thole.Policy { return &semaphore{places: make(chan struct{}, 3), deaf: true} }},
	{name: "keeps the place of a wait that ended", caught: "clause4/ended_wait_takes_nothing", says: "lets no call through",
		make: func() thole.Policy {
			return &semaphore{places: make(chan struct{}, 3), leaks: true, ended: func(ctx context.Context) error {
				return fmt.Errorf("%w: %w", thole.ErrRejected, ctx.Err())
			}}
		}},

	{name: "replaces ctx by Background", caught: "clause5/values_reach_fn", says: "want the value that the caller's context has",
		make: each(func(ctx context.Context, fn fnType) error {
			return good(ctx, func(context.Context) error { return fn(context.Background()) })
		})},
	{name: "drops the caller's deadline from later runs", caught: "clause5/deadline_reaches_fn", says: "that of fn has none",
		make: retries(func(ctx context.Context, fn fnType) error { return fn(context.WithoutCancel(ctx)) })},
	{name: "drops the caller's cancellation from later runs", caught: "clause5/cancel_reaches_fn", says: "still not done",
		make: retries(func(ctx context.Context, fn fnType) error { return fn(context.WithoutCancel(ctx)) })},
	{name: "drops the caller's deadline", caught: "clause5/deadline_reaches_fn", says: "that of fn has none",
		make: each(func(ctx context.Context, fn fnType) error {
			return good(ctx, func(ctx context.Context) error { return fn(context.WithoutCancel(ctx)) })
		})},
	{name: "drops the caller's cancellation", caught: "clause5/cancel_reaches_fn", says: "still not done",
		make: each(func(ctx context.Context, fn fnType) error {
			return good(ctx, func(ctx context.Context) error { return fn(context.WithoutCancel(ctx)) })
		})},
	{name: "keeps the first ctx for all calls", caught: "clause5/ctx_is_each_calls_own", says: "got a context of call 0",
		make: func() thole.Policy {
			var first atomic.Pointer[context.Context]
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				first.CompareAndSwap(nil, &ctx)
				return good(ctx, func(context.Context) error { return fn(*first.Load()) })
			})
		}},
	{name: "stores ctx", caught: "clause5/ctx_is_not_kept", says: "still refers to the context",
		make: func() thole.Policy {
			var last atomic.Pointer[context.Context]
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				last.Store(&ctx)
				return good(ctx, fn)
			})
		}},

	{name: "runs fn beside itself", caught: "clause6/runs_do_not_overlap", says: "2 runs of it were under way",
		make: each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			second := make(chan error, 1)
			go func() { second <- fn(ctx) }()
			return errors.Join(fn(ctx), <-second)
		})},
	{name: "returns before fn has", caught: "clause6/returns_after_fn", says: "was still running",
		make: each(func(ctx context.Context, fn fnType) error {
			if err := ctx.Err(); err != nil {
				return err
			}
			done := make(chan error, 1)
			go func() { done <- fn(ctx) }()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})},
	{name: "returns before a later run has", caught: "clause6/returns_after_fn", says: "was still running",
		make: retries(func(ctx context.Context, fn fnType) error {
			done := make(chan error, 1)
			go func() { done <- fn(ctx) }()
			select {
			case err := <-done:
				return err
			case <-ctx.Done():
				return ctx.Err()
			}
		})},
	{name: "tries again in the background", caught: "clause6/no_run_after_return", says: "run 1 times more",
		make: each(func(ctx context.Context, fn fnType) error {
			err := good(ctx, fn)
			if _, ok := err.(*flaw); ok {
				time.AfterFunc(time.Minute, func() { _ = fn(ctx) })
			}
			return err
		})},
	{name: "leaks a goroutine", caught: "clause6/no_goroutine_left", says: "goroutines are left",
		make: each(func(ctx context.Context, fn fnType) error {
			go func() { <-make(chan struct{}) }()
			return good(ctx, fn)
		})},
	{name: "leaves a goroutine for a while", caught: "clause6/no_goroutine_left", says: "goroutines are left",
		make: each(func(ctx context.Context, fn fnType) error {
			go time.Sleep(time.Second)
			return good(ctx, fn)
		})},

	{name: "recovers a panic", caught: "clause7/panic_goes_up", says: "fn panicked, but Do returned",
		make: each(func(ctx context.Context, fn fnType) (err error) {
			defer func() {
				if r := recover(); r != nil {
					err = fmt.Errorf("recovered: %v", r)
				}
			}()
			return good(ctx, fn)
		})},
	{name: "recovers the panic of a later run", caught: "clause7/panic_goes_up", says: "fn panicked, but Do returned",
		make: retries(func(ctx context.Context, fn fnType) error {
			if err, ok := recovered(ctx, fn); ok {
				return err
			}
			return errBusy
		})},
	{name: "takes the Goexit of a later run for a return", caught: "clause7/goexit_goes_up", says: "but Do returned nil",
		make: retries(func(ctx context.Context, fn fnType) (err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				err = fn(ctx)
			}()
			<-done
			return err
		})},
	{name: "panics anew with another value", caught: "clause7/panic_goes_up", says: "what came up is",
		make: each(func(ctx context.Context, fn fnType) error {
			defer func() {
				if r := recover(); r != nil {
					panic(fmt.Sprint("guarded: ", r))
				}
			}()
			return good(ctx, fn)
		})},
	{name: "panics anew elsewhere", caught: "clause7/panic_goes_up", says: "without its stack",
		make: each(func(ctx context.Context, fn fnType) error { return inGoroutine(ctx, fn) })},
	{name: "retries panics", caught: "clause7/panic_goes_up", says: "was run 2 times",
		make: each(func(ctx context.Context, fn fnType) error {
			if err, ok := recovered(ctx, fn); ok {
				return err
			}
			return fn(ctx)
		})},
	{name: "takes Goexit for a return", caught: "clause7/goexit_goes_up", says: "fn ended its goroutine by runtime.Goexit, but Do returned nil",
		make: each(func(ctx context.Context, fn fnType) (err error) {
			done := make(chan struct{})
			go func() {
				defer close(done)
				err = good(ctx, fn)
			}()
			<-done
			return err
		})},
	{name: "leaks a later run's permit on panic", caught: "clause7/panic_frees", says: "lets no call through", make: leaksLater},
	{name: "leaks a later run's permit on Goexit", caught: "clause7/goexit_frees", says: "lets no call through", make: leaksLater},
	{name: "leaks a permit on panic", caught: "clause7/panic_frees", says: "lets no call through",
		make: func() thole.Policy { return &gate{limit: 50, full: thole.ErrRejected, leaks: true} }},
	{name: "leaks a permit on Goexit", caught: "clause7/goexit_frees", says: "lets no call through",
		make: func() thole.Policy { return &gate{limit: 50, full: thole.ErrRejected, leaks: true} }},
	{name: "deadlocks after a panic", caught: "clause7/panic_frees", says: "the policy hangs",
		make: func() thole.Policy { return new(locker) }},
	{name: "never gives back a token on Goexit", caught: "clause7/goexit_frees", says: "another did not return at all",
		make: func() thole.Policy { return &semaphore{places: make(chan struct{}, 3), deaf: true, abandons: true} }},
	{name: "does not count panics", caught: "clause7/panic_is_a_failure", says: "not after they have panicked",
		make: func() thole.Policy { return new(countsErrors) }},
	{name: "does not count Goexit", caught: "clause7/panic_is_a_failure", says: "not after they have left by runtime.Goexit",
		make: func() thole.Policy { return &countsErrors{panics: true} }},

	{name: "calls hooks under its lock", caught: "clause8/hook_calls_back", says: "the policy hangs", make: each(good),
		hooks: func(hook func()) thole.Policy { return &hooked{hook: hook, locked: true} }},
	{name: "calls hooks under a lock of readers", caught: "clause8/hook_blocks_nobody", says: "the policy hangs", make: each(good),
		hooks: func(hook func()) thole.Policy { return &rwHooked{hook: hook} }},
	{name: "holds a channel during hooks", caught: "clause8/hook_blocks_nobody", says: "while a hook was blocked", make: each(good),
		hooks: func(hook func()) thole.Policy { return &chanHooked{hook: hook, turn: make(chan struct{}, 1)} }},
	{name: "stays unusable after a hook's panic", caught: "clause8/hook_panics", says: "lets no call through", make: each(good),
		hooks: func(hook func()) thole.Policy { return &hooked{hook: hook, spoils: true} }},
	{name: "calls no hook", caught: "clause8/hook_calls_back", says: "has shown nothing", make: each(good),
		hooks: func(func()) thole.Policy { return thole.PolicyFunc(good) }},

	{name: "gives its own settings away", caught: "clause9/description_is_a_copy", says: "is part of the policy",
		make: func() thole.Policy { return &described{settings: []thole.Setting{{Key: "a", Value: "b"}}} }},
	{name: "keeps the caller's slice", caught: "clause9/config_is_copied", says: "has reached it", make: each(good),
		change: func() (thole.Policy, func()) {
			layers := []thole.Policy{thole.PolicyFunc(good)}
			change := func() {
				layers[0] = thole.PolicyFunc(func(context.Context, fnType) error { return thole.ErrRejected })
			}
			return sliced(layers), change
		}},
}
