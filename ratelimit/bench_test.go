package ratelimit_test

import (
	"context"
	"strconv"
	"testing"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

func BenchmarkClock(b *testing.B) {
	base := time.Now()
	var sum time.Duration
	for b.Loop() {
		sum += time.Since(base)
	}
	_ = sum
}

func BenchmarkTokenBucket_allow(b *testing.B) {
	l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1_000_000_000, time.Second), Burst: 1_000_000_000})
	b.ReportAllocs()
	for b.Loop() {
		if !l.Allow() {
			b.Fatal("refused")
		}
	}
}

func BenchmarkTokenBucket_reject(b *testing.B) {
	l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour)})
	l.Allow()
	b.ReportAllocs()
	for b.Loop() {
		if l.Allow() {
			b.Fatal("admitted")
		}
	}
}

func BenchmarkTokenBucket_Do(b *testing.B) {
	l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1_000_000_000, time.Second), Burst: 1_000_000_000})
	ctx := context.Background()
	fn := func(context.Context) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if err := l.Do(ctx, fn); err != nil {
			b.Fatal(err)
		}
	}
}

func BenchmarkTokenBucket_doReject(b *testing.B) {
	l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour)})
	l.Allow()
	rejectDo(b, l)
}

// rejectDo measures the refusal of a policy that has nothing left.
func rejectDo(b *testing.B, l thole.Policy) {
	ctx := context.Background()
	fn := func(context.Context) error { return nil }
	b.ReportAllocs()
	for b.Loop() {
		if l.Do(ctx, fn) == nil {
			b.Fatal("admitted")
		}
	}
}

// bothWindows runs a benchmark on each form of a window.
func bothWindows(b *testing.B, cfg ratelimit.SlidingWindowConfig, run func(*testing.B, *ratelimit.SlidingWindow)) {
	for name, exact := range map[string]bool{"estimate": false, "exact": true} {
		b.Run(name, func(b *testing.B) {
			cfg := cfg
			cfg.Exact = exact
			run(b, ratelimit.NewSlidingWindow(cfg))
		})
	}
}

func BenchmarkSlidingWindow_allow(b *testing.B) {
	bothWindows(b, ratelimit.SlidingWindowConfig{Limit: ratelimit.MaxExactLimit, Window: time.Microsecond}, func(b *testing.B, l *ratelimit.SlidingWindow) {
		b.ReportAllocs()
		for b.Loop() {
			if !l.Allow() {
				b.Fatal("refused")
			}
		}
	})
}

func BenchmarkSlidingWindow_reject(b *testing.B) {
	bothWindows(b, ratelimit.SlidingWindowConfig{Limit: 1, Window: time.Hour}, func(b *testing.B, l *ratelimit.SlidingWindow) {
		l.Allow()
		b.ReportAllocs()
		for b.Loop() {
			if l.Allow() {
				b.Fatal("admitted")
			}
		}
	})
}

func BenchmarkSlidingWindow_doReject(b *testing.B) {
	bothWindows(b, ratelimit.SlidingWindowConfig{Limit: 1, Window: time.Hour}, func(b *testing.B, l *ratelimit.SlidingWindow) {
		l.Allow()
		rejectDo(b, l)
	})
}

func BenchmarkSlidingWindow_parallel(b *testing.B) {
	bothWindows(b, ratelimit.SlidingWindowConfig{Limit: ratelimit.MaxExactLimit, Window: time.Microsecond}, func(b *testing.B, l *ratelimit.SlidingWindow) {
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				l.Allow()
			}
		})
	})
}

func BenchmarkKeyed_allow(b *testing.B) {
	l := ratelimit.NewKeyed[string](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1_000_000_000, time.Second), Burst: 1_000_000_000}, thole.KeyedConfig{})
	keys := make([]string, 10_000)
	for i := range keys {
		keys[i] = "user-" + strconv.Itoa(i)
	}
	for range 3 {
		for _, key := range keys {
			l.Allow(key)
		}
	}
	i := 0
	b.ReportAllocs()
	for b.Loop() {
		if !l.Allow(keys[i]) {
			b.Fatal("refused")
		}
		if i++; i == len(keys) {
			i = 0
		}
	}
}

func BenchmarkTokenBucket_allowParallel(b *testing.B) {
	l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1_000_000_000, time.Second), Burst: 1_000_000_000})
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			l.Allow()
		}
	})
}
