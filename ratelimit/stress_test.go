package ratelimit_test

import (
	"cmp"
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole/ratelimit"
)

// Threads that only take never get more than the burst, and exactly that, whichever way the
// state goes between the word and the schedule meanwhile.
func TestTokenBucket_rule28_concurrentCallersNeverGetMoreThanBurst(t *testing.T) {
	const burst = 5000
	l := bucket(ratelimit.Per(1, time.Hour), burst)
	var got atomic.Int64
	var takers, others sync.WaitGroup
	stop := make(chan struct{})
	for range 4 {
		takers.Go(func() {
			for range 3000 {
				if l.Allow() {
					got.Add(1)
				}
			}
		})
	}
	others.Go(func() {
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			default:
			}
			l.Reserve(1 + i%7).Cancel()
			_ = l.Stats()
			_ = l.InUse()
			assert.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1+i%3, time.Hour), Burst: burst}))
		}
	})
	takers.Wait()
	close(stop)
	others.Wait()
	for l.Allow() {
		got.Add(1)
	}
	assert.EqualValues(t, burst, got.Load())
}

// On the real clock, too, no interval of a window's length sees more calls than the bound allows:
// of those, that is, which began and ended within it.
func TestSlidingWindow_rule29_boundHoldsOnTheRealClock(t *testing.T) {
	type span struct{ call, end time.Duration }
	const limit, d = 8, 20 * time.Microsecond
	for _, exact := range []bool{false, true} {
		l, base := window(limit, d, exact), time.Now()
		spans := make([][]span, 4)
		var all sync.WaitGroup
		for i := range spans {
			all.Go(func() {
				for range 20_000 {
					call := time.Since(base)
					if l.Allow() {
						spans[i] = append(spans[i], span{call, time.Since(base)})
					}
				}
			})
		}
		all.Wait()
		together := slices.Concat(spans...)
		slices.SortFunc(together, func(a, b span) int { return cmp.Compare(a.call, b.call) })
		most, bound := 0, 2*limit-1
		if exact {
			bound = limit
		}
		for i, first := range together {
			within := 0
			for _, s := range together[i:] {
				if s.call >= first.call+d {
					break
				}
				if s.end < first.call+d {
					within++
				}
			}
			most = max(most, within)
		}
		assert.LessOrEqual(t, most, bound, "exact %v", exact)
		assert.Greater(t, most, 1, "exact %v: none came together", exact) // limit/2 is much for a busy machine
		assert.Equal(t, len(together), l.Stats().Admitted)
	}
}

func TestLimiter_stress(t *testing.T) {
	for name, l := range map[string]limiter{
		"bucket":   bucket(ratelimit.Per(300_000, time.Second), 3),
		"odd":      bucket(ratelimit.Per(999_999_937, 3_000*time.Second), 3),
		"exact":    window(300, time.Millisecond, true),
		"estimate": window(300, time.Millisecond, false),
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var all sync.WaitGroup
			var admitted, tries atomic.Int64
			start := time.Now()
			for g := range 16 {
				all.Go(func() {
					rng := rand.New(rand.NewPCG(uint64(g), 0))
					for range 300 {
						tries.Add(1)
						ctx, cancel := context.WithTimeout(context.Background(), time.Duration(rng.IntN(int(2*time.Millisecond))))
						n := 1 + rng.IntN(3)
						switch rng.IntN(5) {
						case 0:
							if l.AllowN(n) {
								admitted.Add(int64(n))
							}
						case 1:
							cancel()
							_ = l.WaitN(ctx, n)
						case 2:
							if b, ok := l.(*ratelimit.TokenBucket); ok {
								b.Reserve(n).Cancel()
							}
						default:
							if l.WaitN(ctx, n) == nil {
								admitted.Add(int64(n))
							}
						}
						cancel()
					}
				})
			}
			all.Wait()
			took := time.Since(start)
			// 300 in a millisecond each; the windows' worst case doubles it.
			assert.LessOrEqual(t, float64(admitted.Load()), 2*(300+300*took.Seconds()*1000))
			time.Sleep(5 * time.Millisecond)
			s := l.Stats()
			assert.Zero(t, s.Waiting+s.Promised)
			assert.False(t, l.InUse())
		})
	}
}
