package tholetest

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing/synctest"
	"time"

	"github.com/thole-go/thole"
)

const (
	whyDone     = "nobody waits for the result of such a call; to run it wastes the callee's time, and what it takes (a permit, a token, a probe) is missing for calls that matter."
	whyRejected = "a rejected call may be sent elsewhere without fear of doing its work twice, and breakers must not count it; only errors.Is(err, thole.ErrRejected) tells."
)

const whyNotRejected = "a call whose fn has run and failed is a failure, however its last attempt was refused: told that it was rejected, its caller sends it elsewhere without fear, breakers further out do not count it, and what fn said is lost."

var rejectionCases = []testCase{
	{clause: 4, name: "done_ctx_runs_nothing", check: doneCtxRunsNothing, why: whyDone},
	{clause: 4, name: "done_ctx_takes_nothing", check: doneCtxTakesNothing, why: whyDone},
	{clause: 4, name: "rejection_matches", check: rejectionMatches, why: whyRejected},
	{clause: 4, name: "failure_is_no_rejection", check: failureIsNoRejection, why: whyNotRejected},
	{clause: 4, name: "ended_wait_matches", check: endedWaitMatches, why: whyRejected},
	{clause: 4, name: "ended_wait_takes_nothing", check: endedWaitTakesNothing, why: whyDone},
}

// doneContexts returns contexts that are done, by what ended them.
func doneContexts() map[string]context.Context {
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()
	caused, cancelCause := context.WithCancelCause(context.Background())
	cancelCause(&flaw{"the cause"})
	expired, cancelExpired := context.WithDeadline(context.Background(), time.Now().Add(-time.Second))
	cancelExpired()
	return map[string]context.Context{"cancelled": cancelled, "cancelled with a cause": caused, "expired": expired}
}

// doneCtxRunsNothing also asks a policy that has seen failures, and one that is busy: a done ctx
// comes before whatever else would keep the call from being run.
func doneCtxRunsNothing(k *kit) {
	k.doneRunsNothing(k.newPolicy(), "before the call")
	p := k.newPolicy()
	k.fail(p, someFailures)
	k.doneRunsNothing(p, "before the call, which came after others that had failed")
	p = k.newPolicy()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			k.call(context.Background(), p, func(context.Context) error { time.Sleep(time.Minute); return nil })
		})
	}
	synctest.Wait()
	k.doneRunsNothing(p, "before the call, which came beside others that were under way or waiting")
	wg.Wait()
}

func (k *kit) doneRunsNothing(p thole.Policy, when string) {
	for how, ctx := range doneContexts() {
		r := k.call(ctx, p, func(context.Context) error { return nil })
		if r.ran() {
			k.failf("ctx was %s %s, yet fn was run", how, when)
		}
		if r.err != ctx.Err() {
			k.failf("ctx was %s %s: Do %v, want ctx.Err() itself, %q", how, when, r, ctx.Err())
		}
	}
}

// someFailures open any breaker that opens soon.
const someFailures = 30

// fail makes n calls of p that fail, a moment apart.
func (k *kit) fail(p thole.Policy, n int) {
	for range n {
		k.call(context.Background(), p, func(context.Context) error { return &flaw{"down"} })
		time.Sleep(time.Millisecond)
	}
}

// doneCtxTakesNothing compares with a policy that got no such calls, when both are new, and when
// both had a rest after failures: then a place for a probe could be taken.
func doneCtxTakesNothing(k *kit) {
	for _, failures := range []int{0, someFailures} {
		for how, ctx := range doneContexts() {
			p, other := k.newPolicy(), k.newPolicy()
			k.fail(p, failures)
			k.fail(other, failures)
			time.Sleep(longTime)
			for range 400 {
				k.call(ctx, p, func(context.Context) error { return nil })
			}
			if r := k.succeed(other); !r.ran() {
				return // not so without them either
			}
			if r := k.succeed(p); !r.ran() {
				k.failf("after 400 calls with a ctx that was %s already, none of which ran, the next call does not run either: Do %v", how, r)
			}
		}
	}
}

// rejectionMatches provokes rejections: by many calls at once, and by many that fail.
func rejectionMatches(k *kit) {
	p := k.newPolicy()
	var wg sync.WaitGroup
	for range 200 {
		wg.Go(func() {
			r := k.call(context.Background(), p, func(context.Context) error {
				time.Sleep(time.Minute)
				return nil
			})
			k.rejected(r, "of 200 calls at once")
		})
	}
	wg.Wait()
	p = k.newPolicy()
	for range 200 {
		r := k.call(context.Background(), p, func(context.Context) error { return &flaw{"down"} })
		k.rejected(r, "after others that failed")
		time.Sleep(time.Millisecond)
	}
}

// rejected notes a violation if fn never ran and the error does not say so.
func (k *kit) rejected(r result, which string) {
	switch {
	case r.hung:
		k.failf("a call %s did not return", which)
	case r.ran():
	case r.err == nil:
		k.failf("a call %s never ran fn, yet Do returned nil", which)
	case !errors.Is(r.err, thole.ErrRejected):
		k.failf("a call %s never ran fn, but its error, %q (%T), does not match ErrRejected", which, r.err, r.err)
	}
}

// failureIsNoRejection looks at calls that fail while others do: of a policy that runs fn
// again, an attempt may be refused after one that ran.
func failureIsNoRejection(k *kit) {
	p := k.newPolicy()
	var wg sync.WaitGroup
	for range 100 {
		wg.Go(func() {
			own := &flaw{"down"}
			r := k.call(context.Background(), p, func(context.Context) error {
				time.Sleep(time.Millisecond)
				return own
			})
			if r.ran() && errors.Is(r.err, thole.ErrRejected) {
				k.failf("fn ran and failed, but the call's error, %q (%T), matches ErrRejected", r.err, r.err)
			}
			k.reachable(r, own, "fn ran and failed")
		})
	}
	wg.Wait()
}

// endedWaitMatches has callers lose patience while others keep the policy busy.
func endedWaitMatches(k *kit) {
	for _, how := range []string{"deadline", "cancel"} {
		p := k.newPolicy()
		const patience = 9973 * time.Microsecond // at which nothing else is likely to happen
		var wg sync.WaitGroup
		for range 200 {
			wg.Go(func() {
				k.lostPatience(p, how, patience)
			})
		}
		wg.Wait()
	}
}

func (k *kit) lostPatience(p thole.Policy, how string, patience time.Duration) {
	var ctx context.Context
	var cancel context.CancelFunc
	if how == "deadline" {
		ctx, cancel = context.WithTimeout(context.Background(), patience)
	} else {
		ctx, cancel = context.WithCancel(context.Background())
		time.AfterFunc(patience, cancel)
	}
	defer cancel()
	start := time.Now()
	r := k.call(ctx, p, func(context.Context) error {
		if late := time.Since(start) - patience; late > 0 && ctx.Err() != nil {
			k.failf("a call that waited went on waiting when its context had ended (%s), and ran fn %v later", how, late)
		}
		time.Sleep(time.Minute) // deaf: those who wait find it busy
		return nil
	})
	k.rejected(r, "that lost its patience by "+how)
	if !r.ran() && ctx.Err() != nil && r.took == patience && !errors.Is(r.err, ctx.Err()) {
		k.failf("a call's wait was ended by its context (%s), but its error, %q, does not match %q", how, r.err, ctx.Err())
	}
	if !r.ran() && r.took > patience {
		k.failf("a call that waited went on waiting for %v after its context had ended (%s)", r.took-patience, how)
	}
}

func endedWaitTakesNothing(k *kit) {
	p := k.newPolicy()
	var wg sync.WaitGroup
	for i := range 1000 {
		wg.Go(func() {
			k.lostPatience(p, [...]string{"deadline", "cancel"}[i%2], time.Duration(1+i%7)*9973*time.Microsecond)
		})
	}
	wg.Wait()
	k.usable(p, fmt.Sprintf("%d calls that lost their patience", 1000))
}
