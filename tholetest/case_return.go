package tholetest

import (
	"context"
	"runtime"
	"testing/synctest"
	"time"
)

const (
	whyOverlap = "fn writes its results to variables of the caller: two runs at once, or one that goes on after Do has returned, are data races in the caller's code."
	whyLeft    = "a goroutine that outlives its call is load nobody sees, and a leak if it is blocked."
)

var returnCases = []testCase{
	{clause: 6, name: "runs_do_not_overlap", check: runsDoNotOverlap, why: whyOverlap, waits: true},
	{clause: 6, name: "returns_after_fn", check: returnsAfterFn, why: whyOverlap, waits: true},
	{clause: 6, name: "no_run_after_return", check: noRunAfterReturn, why: whyOverlap, waits: true},
	{clause: 6, name: "no_goroutine_left", check: noGoroutineLeft, why: whyLeft},
}

// runsDoNotOverlap takes long enough for anything to get impatient, and fails or succeeds.
func runsDoNotOverlap(k *kit) {
	for _, err := range []error{nil, &flaw{"slow failure"}} {
		for _, d := range []time.Duration{time.Second, 2 * time.Minute} {
			r := k.call(context.Background(), k.newPolicy(), func(context.Context) error {
				time.Sleep(d)
				return err
			})
			if r.most > 1 {
				k.failf("with a fn that takes %v, %d runs of it were under way at a time", d, r.most)
			}
		}
	}
}

func returnsAfterFn(k *kit) {
	for _, x := range []struct {
		patience time.Duration
		failures int
	}{{10 * time.Millisecond, 0}, {time.Minute, 1}, {longTime, 0}, {longTime, 1}} { // the caller gives up, or a limit strikes
		ctx, cancel := context.WithTimeout(context.Background(), x.patience)
		r := k.call(ctx, k.newPolicy(), later(x.failures, func(context.Context) error {
			time.Sleep(time.Hour)
			return &flaw{"slow, and deaf to its context"}
		}))
		cancel()
		if r.inside > 0 {
			k.failf("Do %v after %v while fn, which takes an hour, was still running", r, r.took)
		}
	}
}

func noRunAfterReturn(k *kit) {
	p := k.newPolicy()
	for _, err := range []error{nil, &flaw{"fails"}} {
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		r := k.call(ctx, p, func(context.Context) error { return err })
		cancel()
		time.Sleep(longTime)
		if more := int(r.later.Load()) - r.runs; more > 0 {
			k.failf("fn was run %d times more after Do had returned", more)
		}
	}
}

// noGoroutineLeft counts the bubble's goroutines after calls of many kinds.
func noGoroutineLeft(k *kit) {
	for what, fn := range map[string]func(context.Context) error{
		"succeeded":   func(context.Context) error { return nil },
		"failed":      func(context.Context) error { return &flaw{"fails"} },
		"panicked":    func(context.Context) error { panic(&flaw{"panics"}) },
		"Goexited":    func(context.Context) error { runtime.Goexit(); return nil },
		"timed out":   func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() },
		"were deaf":   func(context.Context) error { time.Sleep(time.Hour); return nil },
		"never began": nil,
	} {
		synctest.Wait()
		before := len(goroutinesOf(k.bubble))
		p := k.newPolicy()
		for range 3 {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			if fn == nil {
				cancel()
			}
			k.call(ctx, p, fn)
			cancel()
		}
		if k.hedges {
			time.Sleep(longTime) // the losers end in their own time
		}
		synctest.Wait()
		if now := goroutinesOf(k.bubble); len(now) > before {
			k.failf("after calls that %s, %d goroutines are left which were not there before; one of them:\n%s",
				what, len(now)-before, now[len(now)-1])
		}
	}
}
