package faults

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

const (
	attemptLimit = 80 * time.Millisecond
	callLimit    = 300 * time.Millisecond // of the caller's context
	slack        = 400 * time.Millisecond // of a busy machine
	workers      = 8
)

// protocol is how client and server speak.
type protocol struct {
	name string
	// begin starts a server, a proxy before it, and a client whose calls go through policy; call
	// makes one call and reads its answer to the end, idle closes the connections not in use.
	begin func(t *testing.T, policy thole.Policy) (proxy *Proxy, call func(context.Context) error, idle, end func())
}

// weather is a fault: begin brings it on, and returns what ends it.
type weather struct {
	name  string
	begin func(*Proxy) (end func())
	fair  bool // calls succeed in spite of it
}

func set(f Faults) func(*Proxy) func() {
	return func(p *Proxy) func() {
		p.Set(f)
		return func() { p.Set(Faults{}) }
	}
}

var forecast = []weather{
	{"fair", set(Faults{}), true},
	{"latency", set(Faults{Latency: 10 * time.Millisecond}), true},
	{"latency beyond the limits", set(Faults{Latency: 200 * time.Millisecond}), false},
	{"bandwidth", set(Faults{BytesPerSecond: 2000}), false},
	{"reset in the middle of the answer", set(Faults{ResetAfter: 200}), false},
	{"resets at any time", resets, false},
	{"half closed", func(p *Proxy) func() {
		p.Set(Faults{Swallow: true})
		return func() { p.Set(Faults{}); p.Reset() }
	}, false},
	{"slow close", set(Faults{CloseAfter: 150 * time.Millisecond}), true},
	{"down", func(p *Proxy) func() {
		p.Down()
		return func() { p.Up() }
	}, false},
	{"down and up", func(p *Proxy) func() {
		p.Down()
		timer := time.AfterFunc(60*time.Millisecond, func() { p.Up() })
		return func() { timer.Stop(); p.Up() }
	}, false},
}

// resets resets all connections every few milliseconds.
func resets(p *Proxy) func() {
	p.Set(Faults{Latency: time.Millisecond}) // so that it finds calls under way
	quit := make(chan struct{})
	var wg sync.WaitGroup
	wg.Go(func() {
		for {
			select {
			case <-quit:
				return
			case <-time.After(4 * time.Millisecond):
				p.Reset()
			}
		}
	})
	return func() {
		close(quit)
		wg.Wait()
		p.Set(Faults{})
	}
}

// account is what became of the calls.
type account struct{ sent, served, failed, rejected, late atomic.Int64 }

func (a *account) String() string {
	return fmt.Sprintf("sent %d = served %d + failed %d + rejected %d", a.sent.Load(), a.served.Load(), a.failed.Load(), a.rejected.Load())
}

func TestFaults(t *testing.T) {
	for _, p := range protocols {
		for _, stack := range []string{"retry", "hedge"} {
			if stack == "hedge" && testing.Short() {
				continue
			}
			t.Run(p.name+"/"+stack, func(t *testing.T) { throughAllWeathers(t, p, stack == "hedge") })
		}
	}
}

// policyFor returns a stack of all that a client may use, its bulkhead, and what plays a bad
// network on the client's own side. Its times are short, so that it goes through many states
// within a test.
func policyFor(hedged bool) (thole.Policy, *bulkhead.Bulkhead, *chaos.Chaos) {
	drill := chaos.New(chaos.Config{Seed: 1, Faults: chaos.Faults{
		ErrorRatio: 0.2, RejectRatio: 0.1, DelayRatio: 0.2, Delay: 20 * time.Millisecond,
	}})
	room := bulkhead.New(bulkhead.Config{Limit: 6, MaxWaiting: 2, MaxWait: 50 * time.Millisecond})
	var hedging thole.Policy
	if hedged {
		hedging = hedge.New(hedge.Config{Delay: 20 * time.Millisecond, Budget: thole.NoBudget})
	}
	return thole.Chain(
		timeout.New(timeout.Config{Name: "total", Limit: 250 * time.Millisecond}),
		room,
		retry.New(retry.Config{Backoff: retry.FullJitter(5*time.Millisecond, 20*time.Millisecond), Budget: thole.NoBudget}),
		hedging,
		thole.PerTarget(func(target string) thole.Policy {
			return breaker.New(breaker.Config{Name: target, ConsecutiveFailures: 10, OpenFor: 30 * time.Millisecond, MaxOpenFor: 60 * time.Millisecond})
		}),
		timeout.New(timeout.Config{Name: "attempt", Limit: attemptLimit}),
		drill,
	), room, drill
}

func throughAllWeathers(t *testing.T, p protocol, hedged bool) {
	calls := 48
	if testing.Short() {
		calls = 24
	}
	before := runtime.NumGoroutine()
	policy, room, drill := policyFor(hedged)
	proxy, call, idle, end := p.begin(t, policy)
	drills := weather{"chaos", func(*Proxy) func() { drill.Enable(0); return drill.Disable }, true}
	for _, w := range append(slices.Clone(forecast), drills) {
		var a account
		stop := w.begin(proxy)
		send(t, &a, calls, call)
		stop()
		t.Logf("%-34s %v", w.name, &a)
		if a.sent.Load() != a.served.Load()+a.failed.Load()+a.rejected.Load() {
			t.Errorf("%s: calls are missing: %v", w.name, &a)
		}
		if n := a.late.Load(); n > 0 {
			t.Errorf("%s: %d calls went on beyond their deadline", w.name, n)
		}
		if w.fair && a.served.Load() == 0 {
			t.Errorf("%s: no call was served", w.name)
		}
		recover := time.Now()
		for try(call) != nil {
			if time.Since(recover) > 5*time.Second {
				t.Fatalf("%s: no call succeeds 5 s after it has passed", w.name)
			}
			time.Sleep(10 * time.Millisecond)
		}
	}
	idle()
	eventually(t, "the bulkhead is empty", func() bool { return !room.InUse() })
	eventually(t, "no connection is left", func() bool { idle(); return proxy.Open() == 0 })
	end()
	eventually(t, "no goroutine is left", func() bool { return runtime.NumGoroutine() <= before })
}

func try(call func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(context.Background(), callLimit)
	defer cancel()
	return call(ctx)
}

// send makes so many calls, some at a time, and enters each into the account.
func send(t *testing.T, a *account, calls int, call func(context.Context) error) {
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range calls / workers {
				a.sent.Add(1)
				start := time.Now()
				err := try(call)
				if time.Since(start) > callLimit+slack {
					a.late.Add(1)
				}
				switch {
				case err == nil:
					a.served.Add(1)
				case errors.Is(err, errWrongAnswer):
					t.Error(err)
				case errors.Is(err, thole.ErrRejected):
					a.rejected.Add(1)
				default:
					a.failed.Add(1)
				}
			}
		})
	}
	wg.Wait()
}

var errWrongAnswer = errors.New("an answer that is not the server's was taken for good")

func eventually(t *testing.T, what string, ok func() bool) {
	t.Helper()
	for range 500 {
		if ok() {
			return
		}
		time.Sleep(10 * time.Millisecond)
	}
	buf := make([]byte, 1<<20)
	t.Fatalf("not so after 5 s: %s\n%s", what, buf[:runtime.Stack(buf, true)])
}
