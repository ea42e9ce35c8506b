package tholetest

import (
	"context"
	"runtime"
	"time"
	"weak"

	"github.com/thole-go/thole"
)

const (
	whyDescends = "fn reads deadlines, trace and request values from its context, and stops when the caller does: cut off from the caller's, it works for nobody and is seen by nobody."
	whyKept     = "a context carries a request's values; kept beyond the call, it keeps them in memory, and shows them to calls they do not belong to."
)

var contextCases = []testCase{
	{clause: 5, name: "values_reach_fn", check: valuesReachFn, why: whyDescends},
	{clause: 5, name: "deadline_reaches_fn", check: deadlineReachesFn, why: whyDescends},
	{clause: 5, name: "cancel_reaches_fn", check: cancelReachesFn, why: whyDescends},
	{clause: 5, name: "ctx_is_each_calls_own", check: ctxIsEachCallsOwn, why: whyKept},
	{clause: 5, name: "ctx_is_not_kept", check: ctxIsNotKept, why: whyKept},
}

// valuesReachFn looks at every run, also those after a failure.
func valuesReachFn(k *kit) {
	ctx := context.WithValue(context.Background(), idKey{}, "value")
	ctx = thole.WithTarget(ctx, "target")
	k.call(ctx, k.newPolicy(), func(ctx context.Context) error {
		if got := ctx.Value(idKey{}); got != "value" {
			k.failf("ctx.Value in fn is %v, want the value that the caller's context has", got)
		}
		if got := thole.TargetFrom(ctx); got != "target" {
			k.failf("thole.TargetFrom in fn is %q, want the caller's %q", got, "target")
		}
		return &flaw{"again"}
	})
}

// deadlineReachesFn looks at every run, as valuesReachFn does.
func deadlineReachesFn(k *kit) {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Second)
	defer cancel()
	want, _ := ctx.Deadline()
	k.call(ctx, k.newPolicy(), func(ctx context.Context) error {
		if got, ok := ctx.Deadline(); !ok {
			k.failf("the caller's context has a deadline, that of fn has none")
		} else if got.After(want) {
			k.failf("the deadline of fn's context is %v later than the caller's", got.Sub(want))
		}
		return &flaw{"again"}
	})
}

func cancelReachesFn(k *kit) {
	for _, failures := range []int{0, 1} {
		k.cancelReaches(failures)
	}
}

// cancelReaches has the caller cancel during the run after so many that have failed.
func (k *kit) cancelReaches(failures int) {
	const when = time.Millisecond
	cause := &flaw{"the cause"}
	ctx, cancel := context.WithCancelCause(context.Background())
	defer cancel(nil)
	k.call(ctx, k.newPolicy(), later(failures, func(inner context.Context) error {
		start := time.Now()
		timer := time.AfterFunc(when, func() { cancel(cause) })
		defer timer.Stop()
		late := time.NewTimer(time.Hour)
		defer late.Stop()
		select {
		case <-inner.Done():
		case <-late.C:
			k.failf("the caller cancelled, but an hour later fn's context is still not done")
			return nil
		}
		if ctx.Err() == nil {
			return inner.Err() // a limit of the policy's own came first
		}
		if late := time.Since(start) - when; late > 0 {
			k.failf("fn's context was done %v after the caller's", late)
		}
		if inner.Err() != context.Canceled {
			k.failf("the caller cancelled, but ctx.Err in fn is %v", inner.Err())
		}
		if got := context.Cause(inner); got != error(cause) {
			k.failf("the caller cancelled with a cause, but context.Cause in fn is %v", got)
		}
		return inner.Err()
	}))
}

// ctxIsEachCallsOwn has a call come after one whose context is done and differs.
func ctxIsEachCallsOwn(k *kit) {
	p := k.newPolicy()
	for i := range 5 {
		ctx, cancel := context.WithCancel(context.WithValue(context.Background(), idKey{}, i))
		k.call(ctx, p, func(ctx context.Context) error {
			if got := ctx.Value(idKey{}); got != i {
				k.failf("fn of call %d got a context of call %v", i, got)
			}
			if ctx.Err() != nil && !k.hedges { // of which one may have lost before it has begun
				k.failf("fn of call %d was run with a context that is done, though the caller's is not: %v", i, ctx.Err())
			}
			return nil
		})
		cancel()
		time.Sleep(longTime)
	}
}

// ctxIsNotKept waits for the garbage collector to take a value of a context.
func ctxIsNotKept(k *kit) {
	p := k.newPolicy()
	value := callAndForget(k, p)
	time.Sleep(longTime)
	for range 20 {
		runtime.GC()
		if value.Value() == nil {
			runtime.KeepAlive(p)
			return
		}
	}
	runtime.KeepAlive(p)
	k.failf("the policy still refers to the context of a call, or something made of it, long after the call has returned")
}

//go:noinline
func callAndForget(k *kit, p thole.Policy) weak.Pointer[[1024]byte] {
	value := new([1024]byte)
	ctx, cancel := context.WithCancel(context.WithValue(context.Background(), idKey{}, value))
	defer cancel()
	k.call(ctx, p, func(context.Context) error { return &flaw{"fails"} })
	k.call(ctx, p, func(context.Context) error { return nil })
	return weak.Make(value)
}
