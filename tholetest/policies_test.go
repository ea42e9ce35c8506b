package tholetest_test

import (
	"context"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholetest"
	"github.com/thole-go/thole/timeout"
)

// maker makes new policies of one kind.
type maker = func() thole.Policy

func breakerOf(cfg breaker.Config) maker { return func() thole.Policy { return breaker.New(cfg) } }
func retryOf(cfg retry.Config) maker     { return func() thole.Policy { return retry.New(cfg) } }
func bulkheadOf(cfg bulkhead.Config) maker {
	return func() thole.Policy { return bulkhead.New(cfg) }
}
func bucketOf(cfg ratelimit.TokenBucketConfig) maker {
	return func() thole.Policy { return ratelimit.NewTokenBucket(cfg) }
}
func windowOf(cfg ratelimit.SlidingWindowConfig) maker {
	return func() thole.Policy { return ratelimit.NewSlidingWindow(cfg) }
}
func timeoutOf(limit time.Duration) maker {
	return func() thole.Policy { return timeout.New(timeout.Config{Limit: limit}) }
}
func hedgeOf(cfg hedge.Config) maker { return func() thole.Policy { return hedge.New(cfg) } }
func enabledChaos(cfg chaos.Config) maker {
	return func() thole.Policy {
		c := chaos.New(cfg)
		c.Enable(0)
		return c
	}
}
func chain(makers ...maker) maker {
	return func() thole.Policy {
		var layers []thole.Policy
		for _, m := range makers {
			layers = append(layers, m())
		}
		return thole.Chain(layers...)
	}
}

var everyPolicy = map[string]maker{
	"breaker":                        breakerOf(breaker.Config{}),
	"breaker, consecutive":           breakerOf(breaker.Config{ConsecutiveFailures: 5}),
	"breaker, last calls":            breakerOf(breaker.Config{FailureRatio: 0.5, WindowCalls: 20}),
	"breaker, slow calls":            breakerOf(breaker.Config{SlowCall: time.Second, MinCalls: 2}),
	"breaker, several probes, ramp":  breakerOf(breaker.Config{Probes: 3, ProbeSuccesses: 5, RampUp: time.Minute}),
	"breaker, shadow":                breakerOf(breaker.Config{Shadow: true}),
	"retry":                          retryOf(retry.Config{}),
	"retry, no delay":                retryOf(retry.Config{MaxAttempts: 5, Backoff: retry.Constant(0), Budget: thole.NoBudget}),
	"retry, without end":             retryOf(retry.Config{MaxAttempts: -1, MaxElapsed: time.Hour}),
	"bulkhead":                       bulkheadOf(bulkhead.Config{Limit: 3}),
	"bulkhead, queue":                bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: 50}),
	"bulkhead, queue with MaxWait":   bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: -1, MaxWait: time.Second}),
	"bulkhead, shadow":               bulkheadOf(bulkhead.Config{Limit: 3, Shadow: true}),
	"token bucket":                   bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Second), Burst: 5}),
	"token bucket, waits":            bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(100, time.Second), MaxWait: -1}),
	"token bucket, MaxWait":          bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(100, time.Second), MaxWait: 50 * time.Millisecond}),
	"token bucket, unlimited":        bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Unlimited}),
	"sliding window":                 windowOf(ratelimit.SlidingWindowConfig{Limit: 5, Window: time.Second}),
	"sliding window, exact":          windowOf(ratelimit.SlidingWindowConfig{Limit: 5, Window: time.Second, Exact: true}),
	"sliding window, waits":          windowOf(ratelimit.SlidingWindowConfig{Limit: 5, Window: time.Second, MaxWait: -1}),
	"sliding window, exact, waits":   windowOf(ratelimit.SlidingWindowConfig{Limit: 5, Window: time.Second, Exact: true, MaxWait: -1}),
	"timeout":                        timeoutOf(30 * time.Second),
	"timeout, short":                 timeoutOf(time.Microsecond),
	"chaos":                          func() thole.Policy { return chaos.New(chaos.Config{Faults: chaos.Faults{RejectRatio: 1}}) },
	"chaos, enabled, nothing to do":  enabledChaos(chaos.Config{}), // with something it plays the destination, outside the contract
	"standard.Client":                standard.Client,
	"standard.Server":                func() thole.Policy { return standard.Server(3) },
	"Chain of none":                  chain(),
	"Chain of one":                   chain(bulkheadOf(bulkhead.Config{Limit: 3})),
	"Chain of gates":                 chain(breakerOf(breaker.Config{}), bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: 5}), bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1000, time.Second), Burst: 10})),
	"Chain of a stranger and a gate": chain(stranger, bulkheadOf(bulkhead.Config{Limit: 3})),
	"Chain inside Chain":             chain(chain(timeoutOf(time.Minute), retryOf(retry.Config{})), chain(breakerOf(breaker.Config{}), timeoutOf(time.Second))),
	"Chain of all but hedge, in order": chain(
		timeoutOf(30*time.Second),
		bucketOf(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1000, time.Second), Burst: 10, MaxWait: time.Second}),
		bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: 10}),
		retryOf(retry.Config{}),
		breakerOf(breaker.Config{}),
		timeoutOf(10*time.Second),
	),
	"PerTarget": func() thole.Policy {
		return thole.PerTarget(func(string) thole.Policy { return breaker.New(breaker.Config{}) })
	},
	"PerTarget of none": func() thole.Policy {
		return thole.PerTarget(func(string) thole.Policy { return nil })
	},
	"Keyed": func() thole.Policy {
		return thole.Keyed(thole.TargetFrom, func(string) thole.Policy {
			return thole.Chain(retry.New(retry.Config{}), bulkhead.New(bulkhead.Config{Limit: 3, MaxWaiting: 3}))
		}, thole.KeyedConfig{MaxKeys: 1})
	},
	"Keyed between others": chain(
		timeoutOf(time.Minute),
		perTargetOf(chain(retryOf(retry.Config{}), breakerOf(breaker.Config{}))),
		timeoutOf(10*time.Second),
		perTargetOf(bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: 3})),
		retryOf(retry.Config{}),
		perTargetOf(timeoutOf(time.Second)),
	),
}

// perTargetOf makes a policy of its own for each target.
func perTargetOf(m maker) maker {
	return func() thole.Policy { return thole.PerTarget(func(string) thole.Policy { return m() }) }
}

// stranger makes a policy that describes nothing.
func stranger() thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
}

// The policies of this module keep the contract they share.
func TestRun_onEveryPolicy(t *testing.T) {
	for name, newPolicy := range everyPolicy {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tholetest.Run(t, newPolicy)
		})
	}
}

var hedgedPolicies = map[string]maker{
	"hedge":               hedgeOf(hedge.Config{}),
	"hedge, fixed delay":  hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget}),
	"hedge, several":      hedgeOf(hedge.Config{Delay: time.Millisecond, MaxHedges: 5, Budget: thole.NoBudget}),
	"Chain with a hedge":  chain(timeoutOf(time.Minute), retryOf(retry.Config{}), hedgeOf(hedge.Config{Delay: time.Second}), breakerOf(breaker.Config{}), timeoutOf(10*time.Second)),
	"hedge over bulkhead": chain(hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget}), bulkheadOf(bulkhead.Config{Limit: 3, MaxWaiting: 5})),
	"Keyed hedge":         perTargetOf(hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget})),
	"Keyed hedges between others": chain(
		timeoutOf(time.Minute),
		perTargetOf(hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget})),
		breakerOf(breaker.Config{}),
		perTargetOf(chain(breakerOf(breaker.Config{}), hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget}))),
		timeoutOf(10*time.Second),
	),
	"bulkhead over hedge": chain(bulkheadOf(bulkhead.Config{Limit: 3}), hedgeOf(hedge.Config{Delay: 10 * time.Millisecond, Budget: thole.NoBudget})),
}

func TestRun_onHedges(t *testing.T) {
	for name, newPolicy := range hedgedPolicies {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			tholetest.Run(t, newPolicy, tholetest.Hedges())
		})
	}
}

func TestRun_onHooks(t *testing.T) {
	t.Run("breaker", func(t *testing.T) {
		tholetest.Run(t, breakerOf(breaker.Config{}), tholetest.Hooks(func(hook func()) thole.Policy {
			return breaker.New(breaker.Config{OnStateChange: func(_, _ breaker.State) { hook() }})
		}))
	})
	t.Run("breaker's Outcome", func(t *testing.T) {
		tholetest.Run(t, breakerOf(breaker.Config{}), tholetest.Hooks(func(hook func()) thole.Policy {
			return breaker.New(breaker.Config{Outcome: func(ctx context.Context, err error) thole.Outcome {
				hook()
				return thole.OutcomeOf(ctx, err)
			}})
		}))
	})
	t.Run("retry", func(t *testing.T) {
		tholetest.Run(t, retryOf(retry.Config{}), tholetest.Hooks(func(hook func()) thole.Policy {
			return retry.New(retry.Config{
				OnRetry: func(context.Context, thole.Attempt, error, time.Duration) { hook() },
			})
		}))
	})
	t.Run("retry's RetryIf and Backoff", func(t *testing.T) {
		tholetest.Run(t, retryOf(retry.Config{}), tholetest.Hooks(func(hook func()) thole.Policy {
			return retry.New(retry.Config{
				RetryIf: func(error) bool { hook(); return true },
				Backoff: func() backoff.BackOff { hook(); return &backoff.ZeroBackOff{} },
			})
		}))
	})
	t.Run("chaos's Key", func(t *testing.T) {
		tholetest.Run(t, enabledChaos(chaos.Config{}), tholetest.Hooks(func(hook func()) thole.Policy {
			return enabledChaos(chaos.Config{Key: func(context.Context) string { hook(); return "" }})()
		}))
	})
	t.Run("Keyed's functions", func(t *testing.T) {
		tholetest.Run(t, everyPolicy["Keyed"], tholetest.Hooks(func(hook func()) thole.Policy {
			return thole.Keyed(
				func(context.Context) string { hook(); return "" },
				func(string) thole.Policy { return nil },
				thole.KeyedConfig{},
			)
		}))
	})
}

func TestRun_onConfigChanges(t *testing.T) {
	t.Run("Chain", func(t *testing.T) {
		tholetest.Run(t, chain(), tholetest.ConfigChange(func() (thole.Policy, func()) {
			layers := []thole.Policy{stranger(), bulkhead.New(bulkhead.Config{Limit: 1})}
			return thole.Chain(layers...), func() { layers[0], layers[1] = layers[1], nil }
		}))
	})
	t.Run("chaos", func(t *testing.T) {
		tholetest.Run(t, enabledChaos(chaos.Config{}), tholetest.ConfigChange(func() (thole.Policy, func()) {
			keys := map[string]chaos.Faults{"": {RejectRatio: 0.5}, "a": {}}
			p := enabledChaos(chaos.Config{Seed: 1, Key: thole.TargetFrom, Keys: keys})()
			return p, func() { keys[""] = chaos.Faults{}; delete(keys, "a") }
		}))
	})
}
