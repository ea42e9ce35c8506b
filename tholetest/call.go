package tholetest

import (
	"context"
	"fmt"
	"regexp"
	"runtime"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

const (
	// longTime is, in virtual time, after what everything has calmed down: circuits probe
	// again, buckets are full, hedges have ended.
	longTime = 30 * 24 * time.Hour

	// tooLong is how long a call may take.
	tooLong = 10 * longTime
)

// flaw is an error of fn's: a pointer type, so that each is only itself.
type flaw struct{ text string }

func (f *flaw) Error() string { return f.text }

// result is how a call ended.
type result struct {
	err      error
	panicked any    // the value of a panic that came up
	stack    string // where it came from
	goexit   bool   // Do neither returned nor panicked
	hung     bool   // Do did not return at all

	took   time.Duration
	runs   int  // of fn, begun when Do returned
	inside int  // of them, those under way then
	most   int  // side by side at any time
	gotNil bool // a run had returned nil
	later  *atomic.Int64
}

// ran reports whether fn ran at all, be it after Do had returned.
func (r result) ran() bool { return r.later.Load() > 0 }

// String says how the call ended.
func (r result) String() string {
	switch {
	case r.hung:
		return "did not return"
	case r.panicked != nil:
		return fmt.Sprintf("panicked with %v", r.panicked)
	case r.goexit:
		return "ended its goroutine"
	case r.err == nil:
		return "returned nil"
	}
	return fmt.Sprintf("returned %q", r.err)
}

// call calls p in a goroutine of its own and waits for the end.
func (k *kit) call(ctx context.Context, p thole.Policy, fn func(context.Context) error) result {
	done := make(chan result, 1)
	var runs, inside, most atomic.Int64
	var gotNil atomic.Bool
	counted := func(ctx context.Context) error {
		runs.Add(1)
		now := inside.Add(1)
		for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
		}
		defer inside.Add(-1)
		err := fn(ctx)
		if err == nil {
			gotNil.Store(true)
		}
		return err
	}
	go func() {
		var r result
		start, returned := time.Now(), false
		defer func() {
			r.inside, r.runs, r.most = int(inside.Load()), int(runs.Load()), int(most.Load())
			r.gotNil, r.took, r.later = gotNil.Load(), time.Since(start), &runs
			if !returned {
				if r.panicked = recover(); r.panicked == nil {
					r.goexit = true
				} else {
					r.stack = string(debug.Stack())
				}
			}
			done <- r
		}()
		r.err = p.Do(ctx, counted)
		returned = true
	}()
	timer := time.NewTimer(tooLong)
	defer timer.Stop()
	select {
	case r := <-done:
		return r
	case <-timer.C:
		return result{hung: true, took: tooLong, later: &runs}
	}
}

// succeed calls p with a function that returns nil at once.
func (k *kit) succeed(p thole.Policy) result {
	return k.call(context.Background(), p, func(context.Context) error { return nil })
}

// later returns a function that fails in its first runs, and then does what fn does: so what
// holds for a call's first run can be seen to hold for the others of a policy that runs fn again.
func later(failures int, fn func(context.Context) error) func(context.Context) error {
	var runs atomic.Int64
	return func(ctx context.Context) error {
		if runs.Add(1) <= int64(failures) {
			return &flaw{"an earlier run fails"}
		}
		return fn(ctx)
	}
}

// usable notes a violation unless p, after a long rest, runs fn and returns its success.
func (k *kit) usable(p thole.Policy, after string) {
	time.Sleep(longTime)
	if r := k.succeed(p); !r.ran() || r.err != nil || r.hung {
		k.failf("after %s, and %v of rest, the policy lets no call through: Do %v", after, longTime, r)
	}
}

var bubbleName = regexp.MustCompile(`synctest bubble \d+`)

// ownBubble returns the name of the bubble this goroutine is in, as stack dumps have it.
func ownBubble() string {
	buf := make([]byte, 256)
	return string(bubbleName.Find(buf[:runtime.Stack(buf, false)]))
}

// goroutinesOf returns the stacks of the goroutines in a bubble.
func goroutinesOf(bubble string) []string {
	if bubble == "" {
		return nil
	}
	buf := make([]byte, 1<<16)
	for {
		n := runtime.Stack(buf, true)
		if n < len(buf) {
			buf = buf[:n]
			break
		}
		buf = make([]byte, 2*len(buf))
	}
	var in []string
	for g := range strings.SplitSeq(string(buf), "\n\n") {
		head, _, _ := strings.Cut(g, "\n")
		if strings.HasSuffix(strings.TrimRight(head, "]:"), bubble) {
			in = append(in, g)
		}
	}
	return in
}
