package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }

func allParts(f *figures) ([]part, error) {
	web, err := webPart()
	if err != nil {
		return nil, err
	}
	return []part{chainPart(f, "chain", false), chainPart(f, "hedged", true), permitPart(), tokenPart(), web}, nil
}

var errFailed = errors.New("failed")

// note enters the end of a call.
func (c *count) note(ctx context.Context, err error) {
	switch {
	case err == nil:
		c.Succeeded.Add(1)
	case errors.Is(err, thole.ErrRejected):
		c.Rejected.Add(1)
	case ctx.Err() != nil:
		c.Cancelled.Add(1)
	default:
		c.Failed.Add(1)
	}
}

// work is a function that does everything: at once, late, never, or not at all.
func work(rng *rand.Rand) func(context.Context) (int, error) {
	kind, late := rng.IntN(100), time.Duration(rng.IntN(3000))*time.Microsecond
	var runs atomic.Int64
	return func(ctx context.Context) (int, error) {
		n := int(runs.Add(1))
		switch {
		case kind < 50:
			return n, nil
		case kind < 65:
			pause(ctx, late)
			return n, ctx.Err()
		case kind < 80:
			return 0, errFailed
		case kind < 85:
			if n > 1 {
				return n, nil
			}
			return 0, errFailed
		case kind < 90:
			<-ctx.Done()
			return 0, ctx.Err()
		case kind < 93:
			time.Sleep(late) // whatever the context says
			return n, nil
		case kind < 95:
			panic(errFailed)
		case kind < 97:
			return n, thole.Answer(errFailed)
		}
		return 0, thole.Permanent(errFailed)
	}
}

type userKey struct{}

// chainPart is a chain of everything, with chaos inside, for keys that come and go.
func chainPart(f *figures, name string, hedged bool) part {
	var (
		room    = bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: 4, MaxWait: 5 * time.Millisecond})
		again   = retry.New(retry.Config{Backoff: retry.FullJitter(time.Millisecond, 3*time.Millisecond)})
		limit   = ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(20_000, time.Second), Burst: 100})
		window  = ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Limit: 400, Window: 10 * time.Millisecond, MaxWait: time.Millisecond})
		attempt = timeout.New(timeout.Config{Limit: 2 * time.Millisecond})
		circuit = breaker.New(breaker.Config{Name: name, ConsecutiveFailures: 20, OpenFor: 2 * time.Millisecond, MaxOpenFor: 8 * time.Millisecond})
		faults  = chaos.New(chaos.Config{Faults: chaos.Faults{RejectRatio: 0.01, ErrorRatio: 0.02, PanicRatio: 0.002, DelayRatio: 0.02, Delay: time.Millisecond}})
		second  *hedge.Hedge
		layers  = []thole.Policy{timeout.New(timeout.Config{Limit: 10 * time.Millisecond}), limit, window, room, again}
	)
	if hedged {
		second = hedge.New(hedge.Config{Delay: time.Millisecond, MaxHedges: 2, Budget: thole.NoBudget})
		layers = append(layers, second)
	}
	users := thole.Keyed(func(ctx context.Context) int { k, _ := ctx.Value(userKey{}).(int); return k },
		func(int) thole.Policy {
			atomic.AddInt64(&f.Keys, 1)
			return breaker.New(breaker.Config{ConsecutiveFailures: 5, OpenFor: time.Millisecond, MaxOpenFor: 2 * time.Millisecond, Probes: 2})
		}, thole.KeyedConfig{MaxKeys: 200, IdleFor: time.Second})
	chain := thole.Chain(append(layers, users, circuit, attempt, faults)...)
	faults.Enable(0)

	return part{
		name: name,
		run: func(ctx context.Context, rng *rand.Rand, c *count) {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
			defer cancel()
			if rng.IntN(20) == 0 {
				cancel()
			}
			defer func() {
				if recover() != nil {
					c.Panicked.Add(1)
				}
			}()
			v, err := thole.Do(context.WithValue(ctx, userKey{}, rng.IntN(1000)), chain, work(rng))
			if err == nil && v == 0 {
				err = errors.New("a success without its value")
				fmt.Println("BROKEN:", err)
			}
			c.note(ctx, err)
		},
		change: func(rng *rand.Rand) {
			limits := 1 + rng.IntN(8)
			changes := []error{
				room.Reconfigure(bulkhead.Config{Limit: limits, MaxWaiting: rng.IntN(8) - 1, MaxWait: 5 * time.Millisecond, Shadow: rng.IntN(10) == 0}),
				limit.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10_000+rng.IntN(20_000), time.Second), Burst: 1 + rng.IntN(100)}),
				window.Reconfigure(ratelimit.SlidingWindowConfig{Limit: 100 + rng.IntN(400), Window: 10 * time.Millisecond, Exact: rng.IntN(2) == 0, MaxWait: time.Millisecond}),
				attempt.Reconfigure(timeout.Config{Limit: time.Duration(1+rng.IntN(3)) * time.Millisecond}),
				circuit.Reconfigure(breaker.Config{Name: name, ConsecutiveFailures: 10 + rng.IntN(20), SlowCall: time.Duration(rng.IntN(5)) * time.Millisecond, OpenFor: 2 * time.Millisecond, MaxOpenFor: 8 * time.Millisecond, RampUp: time.Duration(rng.IntN(4)) * time.Millisecond}),
				again.Reconfigure(retry.Config{MaxAttempts: 1 + rng.IntN(4), Backoff: retry.FullJitter(time.Millisecond, 3*time.Millisecond)}),
			}
			if hedged {
				changes = append(changes, second.Reconfigure(hedge.Config{Delay: time.Millisecond, MaxHedges: 1 + rng.IntN(2), Budget: thole.NoBudget}))
			}
			if err := errors.Join(changes...); err != nil {
				panic(err)
			}
			switch rng.IntN(20) {
			case 0:
				circuit.Isolate(time.Millisecond)
			case 1:
				circuit.Reset()
			}
		},
		settled: func(f *figures) (wrong []string) {
			if s := room.Stats(); s.InUse != 0 || s.Waiting != 0 {
				wrong = append(wrong, fmt.Sprintf("%d permits are out, %d callers wait", s.InUse, s.Waiting))
			}
			if s := limit.Stats(); limit.InUse() || s.Waiting != 0 || s.Promised != 0 {
				wrong = append(wrong, fmt.Sprintf("the bucket is not full: %+v", s))
			}
			if s := window.Stats(); s.Waiting != 0 {
				wrong = append(wrong, fmt.Sprintf("%d callers wait for a window", s.Waiting))
			}
			if s := again.Stats(); s.Waiting != 0 {
				wrong = append(wrong, fmt.Sprintf("%d calls wait for a retry", s.Waiting))
			}
			if s := circuit.Stats(); s.ProbesOut != 0 || circuit.InUse() {
				wrong = append(wrong, fmt.Sprintf("the breaker is not at rest: %+v", s))
			}
			if users.(interface{ InUse() bool }).InUse() {
				wrong = append(wrong, "a key's breaker is not at rest")
			}
			if len(wrong) == 0 {
				f.Opened += circuit.Stats().Opened
			}
			return wrong
		},
		end: func() {},
	}
}
