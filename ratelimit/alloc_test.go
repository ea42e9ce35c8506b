//go:build !race

package ratelimit_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

func TestAlloc(t *testing.T) {
	ctx := context.Background()
	fast := ratelimit.Per(1_000_000_000, time.Second)
	slow := ratelimit.Per(1, time.Hour)
	odd := ratelimit.Per(1_000_000_007, 90*365*day)
	keyed := ratelimit.NewKeyed[string](ratelimit.TokenBucketConfig{Rate: fast, Burst: 1000}, thole.KeyedConfig{})
	for _, c := range []struct {
		name       string
		admit, not limiter
	}{
		{"token bucket", bucket(fast, 1_000_000), bucket(slow, 1)},
		{"token bucket, odd rate", bucket(odd, 1_000_000), bucket(odd, 1)},
		{"exact", window(1000, time.Nanosecond, true), window(1, time.Hour, true)},
		{"estimate", window(1000, time.Nanosecond, false), window(1, time.Hour, false)},
	} {
		t.Run(c.name, func(t *testing.T) {
			drain(c.not)
			c.admit.Allow()
			var refusal error
			for name, fn := range map[string]func(){
				"Allow": func() { assertOnce(t, c.admit.Allow()) },
				"Wait":  func() { assertOnce(t, c.admit.Wait(ctx) == nil) },
				"Do":    func() { assertOnce(t, c.admit.Do(ctx, nothing) == nil) },
				"Enter": func() { _, err := c.admit.Enter(ctx, nil); assertOnce(t, err == nil) },

				"Allow, refused": func() { assertOnce(t, !c.not.Allow()) },
				"Do, refused":    func() { refusal = c.not.Do(ctx, nothing); assertOnce(t, refusal != nil) },
				"Burst":          func() { assertOnce(t, c.not.WaitN(ctx, 1<<40) != nil) },
				"RetryAfter":     func() { _, ok := thole.RetryAfter(refusal); _ = ok },
				"InUse":          func() { assertOnce(t, c.not.InUse()) },
			} {
				assert.Zero(t, testing.AllocsPerRun(2000, fn), name)
			}
		})
	}
	keyed.Allow("a")
	assert.Zero(t, testing.AllocsPerRun(2000, func() { keyed.Allow("a") }), "keyed")
}

func assertOnce(t *testing.T, ok bool) {
	if !ok {
		t.Fatal("not as meant")
	}
}
