package tholetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/thole-go/thole"
)

var basicCases = []testCase{{
	clause: 0, name: "first_call_runs", check: firstCallRuns,
	why: "this is no clause but what the kit needs: a policy that lets no call through keeps most of them for want of an occasion to break them.",
}}

func firstCallRuns(k *kit) {
	if r := k.succeed(k.newPolicy()); !r.ran() || r.err != nil {
		k.failf("a new policy does not run fn, or does not return its success: Do %v", r)
	}
}

var concurrencyCases = []testCase{{
	clause: 1, name: "concurrent_use", check: concurrentUse,
	why: "a policy guards a destination, so all of a program's goroutines share it; what one call sees must never come from another.",
}}

type idKey struct{}

// concurrentUse has many callers at once, each of whom must get its own fn's ctx and error.
func concurrentUse(k *kit) {
	p := k.newPolicy()
	var wg sync.WaitGroup
	for i := range 32 {
		wg.Go(func() {
			for j := range 20 {
				id := i*1000 + j
				ctx := context.WithValue(context.Background(), idKey{}, id)
				own := &flaw{fmt.Sprintf("of call %d", id)}
				r := k.call(ctx, p, func(ctx context.Context) error {
					if got := ctx.Value(idKey{}); got != id {
						k.failf("fn of call %d got the context of call %v", id, got)
					}
					if id%4 == 0 {
						runtime.Gosched()
					} else {
						time.Sleep(time.Millisecond)
					}
					if id%3 == 0 {
						return own
					}
					return nil
				})
				k.ownResult(id, r, own)
			}
		})
	}
	wg.Wait()
}

// ownResult notes a violation if call id, whose fn fails with own or not at all, ended as
// another call should.
func (k *kit) ownResult(id int, r result, own error) {
	var other *flaw
	switch {
	case r.hung:
		k.failf("call %d of many at once did not return", id)
	case r.panicked != nil || r.goexit:
		k.failf("call %d of many at once %v", id, r)
	case r.err == nil && !r.gotNil:
		k.failf("call %d of many at once returned nil, but its fn never did", id)
	case r.err != nil && r.gotNil:
		k.failf("call %d of many at once returned %q, but its fn returned nil", id, r.err)
	case errors.As(r.err, &other) && error(other) != own:
		k.failf("call %d of many at once got the error %s", id, other)
	case r.err != nil && !r.ran() && !errors.Is(r.err, thole.ErrRejected):
		k.failf("call %d of many at once never ran, and got %q, which does not match ErrRejected", id, r.err)
	}
}

const whySuccess = "the callee has done its work, and perhaps changed the world; a caller who is told otherwise does it again, or reports a failure that was none."

var resultCases = []testCase{
	{clause: 2, name: "success_after_cancel", check: successAfterCancel, why: whySuccess, waits: true},
	{clause: 2, name: "success_after_deadline", check: successAfterDeadline, why: whySuccess, waits: true},
	{clause: 2, name: "success_after_failure", check: successAfterFailure, why: whySuccess},
	{clause: 3, name: "error_is_reachable", check: errorIsReachable, why: whyReachable},
	{clause: 3, name: "error_of_ended_call_is_reachable", check: errorOfEndedCall, why: whyReachable, waits: true},
}

func successAfterCancel(k *kit) {
	for _, failures := range []int{0, 1} {
		ctx, cancel := context.WithCancel(context.Background())
		r := k.call(ctx, k.newPolicy(), later(failures, func(context.Context) error {
			cancel()
			return nil
		}))
		cancel()
		k.keptSuccess(r, "the caller cancelled while fn ran, and fn returned nil")
	}
}

func successAfterDeadline(k *kit) {
	for _, d := range []time.Duration{time.Second, time.Hour} { // the caller's deadline comes first, or a limit of the policy
		ctx, cancel := context.WithTimeout(context.Background(), d)
		r := k.call(ctx, k.newPolicy(), func(context.Context) error {
			time.Sleep(2 * d)
			return nil
		})
		cancel()
		k.keptSuccess(r, "a deadline passed while fn ran, and fn returned nil")
	}
}

// successAfterFailure gives those policies that run fn again a success on a later run.
func successAfterFailure(k *kit) {
	p, runs := k.newPolicy(), 0
	var mu sync.Mutex
	r := k.call(context.Background(), p, func(context.Context) error {
		mu.Lock()
		defer mu.Unlock()
		if runs++; runs == 1 {
			return &flaw{"the first run fails"}
		}
		return nil
	})
	if r.gotNil {
		k.keptSuccess(r, "fn failed first and returned nil when it was run again")
	}
}

func (k *kit) keptSuccess(r result, when string) {
	if r.gotNil && (r.err != nil || r.panicked != nil || r.hung || r.goexit) {
		k.failf("%s, but Do %v", when, r)
	}
}

const whyReachable = "callers, and policies further out, decide by errors.Is and errors.As; an error that was formatted with %v, or replaced, cannot be told from any other."

func errorIsReachable(k *kit) {
	inner := &flaw{"flaw"}
	for _, err := range []error{
		inner,
		fmt.Errorf("wrapped: %w", inner),
		errors.Join(errors.New("another"), inner),
		thole.Answer(inner),
		thole.Permanent(inner),
	} {
		r := k.call(context.Background(), k.newPolicy(), func(context.Context) error { return err })
		k.reachable(r, inner, fmt.Sprintf("fn returned %q", err))
		k.reachable(r, err, fmt.Sprintf("fn returned %q (%T)", err, err)) // marks are part of it
	}
	refused := thole.Rejection(thole.ReasonFull, "refused further in")
	r := k.call(context.Background(), k.newPolicy(), func(context.Context) error { return refused })
	k.reachable(r, refused, "fn returned the rejection of a policy further in")
}

func (k *kit) reachable(r result, target error, when string) {
	var as *flaw
	_, typed := target.(*flaw)
	switch {
	case !r.ran():
	case r.err == nil:
		k.failf("%s, but Do returned nil", when)
	case !errors.Is(r.err, target):
		k.failf("%s, but errors.Is does not find it in %q (%T)", when, r.err, r.err)
	case typed && !errors.As(r.err, &as):
		k.failf("%s, but errors.As does not find it in %q (%T)", when, r.err, r.err)
	}
}

// errorOfEndedCall looks at errors that policies may replace by one of a context, or their own.
func errorOfEndedCall(k *kit) {
	for _, d := range []time.Duration{time.Second, time.Hour} {
		for _, wrapped := range []bool{false, true} {
			inner := &flaw{"flaw"}
			fn := func(ctx context.Context) error {
				<-ctx.Done()
				if wrapped {
					return fmt.Errorf("%w: %w", inner, ctx.Err())
				}
				return inner
			}
			ctx, cancel := context.WithTimeout(context.Background(), d)
			r := k.call(ctx, k.newPolicy(), fn)
			cancel()
			k.reachable(r, inner, "the context ended while fn ran, and fn returned an error of its own")
			ctx, cancel = context.WithCancel(context.Background())
			time.AfterFunc(d, cancel)
			r = k.call(ctx, k.newPolicy(), fn)
			cancel()
			k.reachable(r, inner, "the caller cancelled while fn ran, and fn returned an error of its own")
		}
	}
}
