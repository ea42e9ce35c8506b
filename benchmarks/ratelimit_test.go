package benchmarks

import (
	"context"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/RussellLuo/slidingwindow"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/ratelimiter"
	"github.com/stretchr/testify/require"
	"github.com/throttled/throttled/v2"
	"github.com/throttled/throttled/v2/store/memstore"
	uber "go.uber.org/ratelimit"
	"golang.org/x/time/rate"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

// The limiters are made for a rate of n in each period, as many at once. In the benchmarks
// that admit, the rate is above what a processor can ask for.
const (
	plenty = 100_000_000 // a second
	keys   = 10_000
)

func tholeBucket(n int, period time.Duration) *ratelimit.TokenBucket {
	return ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(n, period), Burst: n})
}

func failsafeBursty(n int, period time.Duration) ratelimiter.RateLimiter[any] {
	return ratelimiter.NewBursty[any](uint(n), period)
}

func xRate(n int, period time.Duration) *rate.Limiter {
	return rate.NewLimiter(rate.Limit(float64(n)/period.Seconds()), n)
}

func uberLimiter(n int, period time.Duration) uber.Limiter {
	return uber.New(n, uber.Per(period))
}

func throttledLimiter(n int, period time.Duration) *throttled.GCRARateLimiterCtx {
	store, err := memstore.NewCtx(2 * keys)
	if err != nil {
		panic(err)
	}
	quota := throttled.RateQuota{MaxRate: throttled.PerDuration(n, period), MaxBurst: n - 1}
	l, err := throttled.NewGCRARateLimiterCtx(store, quota)
	if err != nil {
		panic(err)
	}
	return l
}

func throttledAllow(l *throttled.GCRARateLimiterCtx, key string) bool {
	limited, _, err := l.RateLimitCtx(context.Background(), key, 1)
	return err == nil && !limited
}

func tholeKeyed(n int, period time.Duration) *ratelimit.Keyed[string] {
	return tholeKeyedUpTo(2*keys, n, period)
}

func tholeKeyedUpTo(maxKeys, n int, period time.Duration) *ratelimit.Keyed[string] {
	return ratelimit.NewKeyed[string](
		ratelimit.TokenBucketConfig{Rate: ratelimit.Per(n, period), Burst: n},
		thole.KeyedConfig{MaxKeys: maxKeys},
	)
}

// mapOfXRate is the common way to limit by key: a map of x/time limiters. It forgets no key.
type mapOfXRate struct {
	mu     sync.RWMutex
	limits map[string]*rate.Limiter
	make   func() *rate.Limiter
}

func newMapOfXRate(n int, period time.Duration) *mapOfXRate {
	return &mapOfXRate{
		limits: make(map[string]*rate.Limiter),
		make:   func() *rate.Limiter { return xRate(n, period) },
	}
}

func (m *mapOfXRate) Allow(key string) bool {
	m.mu.RLock()
	l, ok := m.limits[key]
	m.mu.RUnlock()
	if !ok {
		m.mu.Lock()
		if l, ok = m.limits[key]; !ok {
			l = m.make()
			m.limits[key] = l
		}
		m.mu.Unlock()
	}
	return l.Allow()
}

func tholeSliding(n int, period time.Duration, exact bool) *ratelimit.SlidingWindow {
	return ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Limit: n, Window: period, Exact: exact})
}

func russellLuo(n int, period time.Duration) *slidingwindow.Limiter {
	l, _ := slidingwindow.NewLimiter(period, int64(n), func() (slidingwindow.Window, slidingwindow.StopFunc) {
		return slidingwindow.NewLocalWindow()
	})
	return l
}

func TestTokenBucket_limits(t *testing.T) {
	const n, period = 10, time.Second
	for name, newAllow := range map[string]func() func() bool{
		"thole":       func() func() bool { return tholeBucket(n, period).Allow },
		"failsafe-go": func() func() bool { return failsafeBursty(n, period).TryAcquirePermit },
		"failsafe-go, executor": func() func() bool {
			do := viaFailsafe(failsafe.With(failsafeBursty(n, period)))
			return func() bool { return do(context.Background(), succeed) == nil }
		},
		"x/time": func() func() bool { return xRate(n, period).Allow },
		"throttled": func() func() bool {
			l := throttledLimiter(n, period)
			return func() bool { return throttledAllow(l, "key") }
		},
		"thole, keyed": func() func() bool {
			l := tholeKeyed(n, period)
			return func() bool { return l.Allow("key") }
		},
		"map of x/time": func() func() bool {
			l := newMapOfXRate(n, period)
			return func() bool { return l.Allow("key") }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { requireLimit(t, newAllow(), n, period) })
		})
	}
}

func TestSlidingWindow_limits(t *testing.T) {
	const n, period = 10, time.Second
	for name, newAllow := range map[string]func() func() bool{
		"thole":        func() func() bool { return tholeSliding(n, period, false).Allow },
		"thole, exact": func() func() bool { return tholeSliding(n, period, true).Allow },
		"RussellLuo":   func() func() bool { return russellLuo(n, period).Allow },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				time.Sleep(period) // RussellLuo's grid lies on the wall clock's seconds
				requireLimit(t, newAllow(), n, 2*period)
			})
		})
	}
}

// requireLimit checks that n calls pass and no more, and as many after a period.
func requireLimit(t *testing.T, allow func() bool, n int, period time.Duration) {
	t.Helper()
	for range 2 {
		for i := range n {
			require.True(t, allow(), "call %d", i)
		}
		for range 3 {
			require.False(t, allow())
		}
		time.Sleep(period)
	}
}

func TestUberRatelimit_paces(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, start := uberLimiter(10, time.Second), time.Now()
		for range 21 {
			l.Take()
		}
		require.InDelta(t, 2*time.Second, time.Since(start), float64(time.Millisecond))
	})
}

func BenchmarkTokenBucketAllow(b *testing.B) {
	yardstick(b)
	b.Run("thole", func(b *testing.B) {
		l := tholeBucket(plenty, time.Second)
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("thole,_Do", func(b *testing.B) {
		l, ctx := tholeBucket(plenty, time.Second), context.Background()
		for b.Loop() {
			_ = l.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go,_executor", func(b *testing.B) {
		benchFailsafeLimiter(b, failsafeBursty(plenty, time.Second))
	})
	b.Run("failsafe-go,_permits_alone", func(b *testing.B) {
		l := failsafeBursty(plenty, time.Second)
		for b.Loop() {
			_ = l.TryAcquirePermit()
		}
	})
	b.Run("x/time", func(b *testing.B) {
		l := xRate(plenty, time.Second)
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("uber", func(b *testing.B) {
		l := uberLimiter(plenty, time.Second)
		for b.Loop() {
			_ = l.Take()
		}
	})
	b.Run("throttled", func(b *testing.B) {
		l := throttledLimiter(plenty, time.Second)
		for b.Loop() {
			_ = throttledAllow(l, "key")
		}
	})
}

func benchFailsafeLimiter(b *testing.B, l ratelimiter.RateLimiter[any]) {
	e := failsafe.With(l)
	for b.Loop() {
		_ = e.Run(succeedPlainly)
	}
}

func BenchmarkTokenBucketReject(b *testing.B) {
	yardstick(b)
	b.Run("thole", func(b *testing.B) {
		l := tholeBucket(1, never)
		for l.Allow() {
		}
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("thole,_Do", func(b *testing.B) {
		l, ctx := tholeBucket(1, never), context.Background()
		for l.Allow() {
		}
		for b.Loop() {
			_ = l.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go,_executor", func(b *testing.B) {
		l := failsafeBursty(1, never)
		for l.TryAcquirePermit() {
		}
		benchFailsafeLimiter(b, l)
	})
	b.Run("failsafe-go,_permits_alone", func(b *testing.B) {
		l := failsafeBursty(1, never)
		for b.Loop() {
			_ = l.TryAcquirePermit()
		}
	})
	b.Run("x/time", func(b *testing.B) {
		l := xRate(1, never)
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("throttled", func(b *testing.B) {
		l := throttledLimiter(1, never)
		for b.Loop() {
			_ = throttledAllow(l, "key")
		}
	})
}

// manyKeys are asked for in an order that no cache foresees.
var manyKeys = func() []string {
	all := make([]string, keys)
	for i := range all {
		all[i] = "tenant-" + strconv.Itoa(i*7919%keys)
	}
	return all
}()

// warm lets every key have its bucket.
func warm(allow func(string) bool) {
	for range 3 {
		for _, key := range manyKeys {
			allow(key)
		}
	}
}

func BenchmarkTokenBucketKeyed(b *testing.B) {
	yardstick(b)
	run := func(name string, allow func(string) bool) {
		b.Run(name, func(b *testing.B) {
			warm(allow)
			i := 0
			for b.Loop() {
				_ = allow(manyKeys[i])
				if i++; i == keys {
					i = 0
				}
			}
		})
	}
	run("thole", tholeKeyed(plenty, time.Second).Allow)
	run("map_of_x/time", newMapOfXRate(plenty, time.Second).Allow)
	l := throttledLimiter(plenty, time.Second)
	run("throttled", func(key string) bool { return throttledAllow(l, key) })
}

func BenchmarkSlidingWindowAllow(b *testing.B) {
	yardstick(b)
	b.Run("thole", func(b *testing.B) {
		l := tholeSliding(plenty, time.Second, false)
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("thole,_exact", func(b *testing.B) {
		l := tholeSliding(ratelimit.MaxExactLimit, time.Millisecond, true)
		for b.Loop() {
			_ = l.Allow()
		}
	})
	b.Run("RussellLuo", func(b *testing.B) {
		l := russellLuo(plenty, time.Second)
		for b.Loop() {
			_ = l.Allow()
		}
	})
}

func BenchmarkParallelTokenBucketAllow(b *testing.B) {
	ours, theirs, x := tholeBucket(plenty, time.Second), failsafeBursty(plenty, time.Second), xRate(plenty, time.Second)
	parallel(b, "thole", func() { _ = ours.Allow() })
	parallel(b, "failsafe-go,_permits_alone", func() { _ = theirs.TryAcquirePermit() })
	parallel(b, "x/time", func() { _ = x.Allow() })
}

func BenchmarkParallelTokenBucketKeyed(b *testing.B) {
	run := func(name string, allow func(string) bool) {
		warm(allow)
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.RunParallel(func(pb *testing.PB) {
				for i := 0; pb.Next(); i++ {
					_ = allow(manyKeys[i%keys])
				}
			})
		})
	}
	run("thole", tholeKeyed(plenty, time.Second).Allow)
	run("map_of_x/time", newMapOfXRate(plenty, time.Second).Allow)
	l := throttledLimiter(plenty, time.Second)
	run("throttled", func(key string) bool { return throttledAllow(l, key) })
}
