package tholetest

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

const (
	whyPanic = "a panic is a bug that the program's owner must see, value and stack; a policy that recovers it, or runs such a call again, hides the bug and repeats the damage. Goexit is how t.FailNow leaves."
	whyFrees = "what a panicking call held (a permit, a probe, a lock) is otherwise gone for ever: after a few of them the policy lets nobody through."
	whyCount = "a callee that panics does not do its work; a breaker that does not count it lets every caller run into the same panic."
)

var panicCases = []testCase{
	{clause: 7, name: "panic_goes_up", check: panicGoesUp, why: whyPanic},
	{clause: 7, name: "goexit_goes_up", check: goexitGoesUp, why: whyPanic},
	{clause: 7, name: "panic_frees", check: panicFrees, why: whyFrees},
	{clause: 7, name: "goexit_frees", check: goexitFrees, why: whyFrees},
	{clause: 7, name: "panic_is_a_failure", check: panicIsAFailure, why: whyCount},
}

// panickingFn has a name to be found in a stack.
//
//go:noinline
func panickingFn(value any) error { panic(value) }

// moment is long enough for attempts that begin together to be seen side by side.
const moment = time.Microsecond

func panicGoesUp(k *kit) {
	value := &flaw{"the value of a panic"}
	for _, failures := range []int{0, 1} {
		r := k.call(context.Background(), k.newPolicy(), later(failures, func(context.Context) error {
			time.Sleep(moment)
			return panickingFn(value)
		}))
		n := int(r.later.Load())
		if n <= failures {
			return // it does not run fn again
		}
		switch {
		case r.panicked == nil:
			k.failf("fn panicked, but Do %v", r)
		case r.panicked != any(value):
			k.failf("fn panicked with %#v, but what came up is %#v", value, r.panicked)
		case !k.hedges && !strings.Contains(r.stack, "panickingFn"):
			k.failf("the panic came up without its stack: the function that panicked is not in\n%s", r.stack)
		}
		if n != failures+1 && !(k.hedges && r.most > 1) {
			k.failf("fn panicked in run %d, and was run %d times: a panic is never retried", failures+1, n)
		}
	}
}

func goexitGoesUp(k *kit) {
	for _, failures := range []int{0, 1} {
		r := k.call(context.Background(), k.newPolicy(), later(failures, func(context.Context) error {
			time.Sleep(moment)
			runtime.Goexit()
			return nil
		}))
		n := int(r.later.Load())
		if n <= failures {
			return // it does not run fn again
		}
		if !r.goexit {
			k.failf("fn ended its goroutine by runtime.Goexit, but Do %v", r)
		}
		if n != failures+1 && !(k.hedges && r.most > 1) {
			k.failf("fn called runtime.Goexit in run %d, and was run %d times: it is never retried", failures+1, n)
		}
	}
}

// abort makes many calls whose fn never returns, from the run after so many that have failed,
// with time between them for whatever recovers, and reports whether p still answers.
func (k *kit) abort(what string, failures int, leave func()) {
	p := k.newPolicy()
	for i := range 500 {
		r := k.call(context.Background(), p, later(failures, func(context.Context) error { leave(); return nil }))
		if r.hung {
			k.failf("after calls that left by %s, another did not return at all", what)
			return
		}
		if i == 0 && r.later.Load() <= int64(failures) {
			return // it does not run fn again
		}
		time.Sleep(time.Minute)
	}
	k.usable(p, "500 calls that left by "+what)
}

func panicFrees(k *kit) {
	for _, failures := range []int{0, 1} {
		k.abort("panic", failures, func() { panic(&flaw{"panics"}) })
	}
}

func goexitFrees(k *kit) {
	for _, failures := range []int{0, 1} {
		k.abort("Goexit", failures, runtime.Goexit)
	}
}

// panicIsAFailure compares calls that fail with calls that never return: a policy that
// stops letting the ones through must stop the others too.
func panicIsAFailure(k *kit) {
	if !k.opens(func() error { return &flaw{"fails"} }) {
		return
	}
	if !k.opens(func() error { panic(&flaw{"panics"}) }) {
		k.failf("the policy rejects calls after others have failed, but not after they have panicked")
	}
	if !k.opens(func() error { runtime.Goexit(); return nil }) {
		k.failf("the policy rejects calls after others have failed, but not after they have left by runtime.Goexit")
	}
}

// opens reports whether a new policy, given many such calls, comes to reject one for the
// callee's health, or to wait before it runs one until it may.
func (k *kit) opens(fn func() error) bool {
	p := k.newPolicy()
	for range 300 {
		var first atomic.Int64 // how long after the call the first run began, and one
		start := time.Now()
		r := k.call(context.Background(), p, func(context.Context) error {
			first.CompareAndSwap(0, int64(time.Since(start))+1)
			return fn()
		})
		if reason, _ := thole.ReasonOf(r.err); reason == thole.ReasonOpen && errors.Is(r.err, thole.ErrRejected) || first.Load() > 1 {
			return true
		}
		time.Sleep(time.Millisecond)
	}
	return false
}
