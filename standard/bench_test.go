package standard_test

import (
	"context"
	"testing"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/timeout"
)

func fiveOf(total ...thole.Policy) thole.Policy {
	return thole.Chain(append(total,
		retry.New(retry.Config{}),
		breaker.New(breaker.Config{}),
		bulkhead.New(bulkhead.Config{Limit: 100}),
		ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(100, time.Nanosecond*100), Burst: 1 << 20}),
	)...)
}

func BenchmarkChain(b *testing.B) {
	ok := func(context.Context) error { return nil }
	base := time.Now()
	b.Run("clock", func(b *testing.B) {
		for b.Loop() {
			_ = time.Since(base)
		}
	})
	for _, c := range []struct {
		name string
		p    thole.Policy
	}{
		{"timeout,retry,breaker,bulkhead,limiter", fiveOf(timeout.New(timeout.Config{Limit: time.Second}))},
		{"retry,breaker,bulkhead,limiter", fiveOf()},
		{"standard.Client", standard.Client()},
		{"standard.Server", standard.Server(10)},
	} {
		b.Run(c.name, func(b *testing.B) {
			b.ReportAllocs()
			ctx := context.Background()
			for b.Loop() {
				_ = c.p.Do(ctx, ok)
			}
		})
	}
}
