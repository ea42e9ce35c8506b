package benchmarks

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

// BenchmarkScalingGoroutines has so many goroutines use one instance.
func BenchmarkScalingGoroutines(b *testing.B) {
	ctx := b.Context()
	for _, c := range []struct {
		name string
		do   doer
	}{
		{"breaker,_row", tholeRow().Do},
		{"breaker,_window", tholeWindow().Do},
		{"retry", tholeRetry().Do},
		{"token_bucket", tholeBucket(plenty, time.Second).Do},
		{"bulkhead", bulkhead.New(bulkhead.Config{Limit: permits}).Do},
		{"sliding_window", tholeSliding(plenty, time.Second, false).Do},
		{"timeout", tholeTimeout(enough).Do},
		{"hedge", tholeHedge(time.Second).Do},
		{"five-policy_chain", tholeStack(tholeRow(), true).Do},
	} {
		for _, n := range []int{1, 2, 8, 64} {
			b.Run(c.name+"/"+strconv.Itoa(n), func(b *testing.B) {
				spread(b, n, func() { _ = c.do(ctx, succeed) })
			})
		}
	}
}

// spread shares b's iterations out to n goroutines.
func spread(b *testing.B, n int, op func()) {
	done := make(chan struct{})
	b.ResetTimer()
	for i := range n {
		share := b.N / n
		if i < b.N%n {
			share++
		}
		go func() {
			for range share {
				op()
			}
			done <- struct{}{}
		}()
	}
	for range n {
		<-done
	}
}

// BenchmarkScalingKeys has one goroutine use so many keys in turn.
func BenchmarkScalingKeys(b *testing.B) {
	for _, n := range []int{1, 100, 10_000, 100_000} {
		names := make([]string, n)
		for i := range names {
			names[i] = "tenant-" + strconv.Itoa(i*7919%n)
		}
		b.Run("keyed_limiter/"+strconv.Itoa(n), func(b *testing.B) {
			l := tholeKeyedUpTo(2*n, plenty, time.Second)
			benchKeys(b, names, l.Allow)
		})
		b.Run("thole.Keyed,_a_breaker_for_each_key/"+strconv.Itoa(n), func(b *testing.B) {
			calls := make([]context.Context, n)
			for i, name := range names {
				calls[i] = thole.WithTarget(b.Context(), name)
			}
			p := thole.Keyed(thole.TargetFrom, func(string) thole.Policy { return tholeRow() }, thole.KeyedConfig{MaxKeys: 2 * n})
			benchKeys(b, calls, func(ctx context.Context) bool { return p.Do(ctx, succeed) == nil })
		})
	}
}

func benchKeys[K any](b *testing.B, keys []K, allow func(K) bool) {
	for range 3 {
		for _, key := range keys {
			if !allow(key) {
				b.Fatal("refused")
			}
		}
	}
	i := 0
	for b.Loop() {
		_ = allow(keys[i])
		if i++; i == len(keys) {
			i = 0
		}
	}
}
