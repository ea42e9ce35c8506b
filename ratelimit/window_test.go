package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

// most returns the most tokens in any interval [t, t + d).
func most(events []event, d time.Duration) (most int) {
	from, sum := 0, 0
	for _, e := range events {
		sum += e.n
		for events[from].at <= e.at-d {
			sum -= events[from].n
			from++
		}
		most = max(most, sum)
	}
	return most
}

// windows runs f with random limits and windows.
func windows(t *testing.T, exact bool, f func(t *testing.T, rng *rand.Rand, l *ratelimit.SlidingWindow, limit int, d time.Duration)) {
	for seed := range uint64(40) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			limit := 1 + rng.IntN(20)
			d := time.Duration(1 + rng.IntN(200))
			f(t, rng, window(limit, d, exact), limit, d)
		})
	}
}

func TestSlidingWindow_rule29_exactNeverPassesTheLimitInAnyWindow(t *testing.T) {
	windows(t, true, func(t *testing.T, rng *rand.Rand, l *ratelimit.SlidingWindow, limit int, d time.Duration) {
		start := time.Now()
		var events []event
		for range 2000 {
			n, now := 1+rng.IntN(min(limit, 3)), time.Since(start)
			// The plain rule: count those of the last window.
			sum := 0
			for i := len(events) - 1; i >= 0 && events[i].at > now-d; i-- {
				sum += events[i].n
			}
			got := l.AllowN(n)
			require.Equal(t, sum+n <= limit, got)
			if got {
				events = append(events, event{now, n})
			}
			time.Sleep(time.Duration(rng.IntN(2 * (int(d)/limit + 1))))
		}
		assert.LessOrEqual(t, most(events, d), limit)
	})
}

func TestSlidingWindow_rule29_estimateIsTheTwoBucketFormulaAndKeepsItsWorstCase(t *testing.T) {
	windows(t, false, func(t *testing.T, rng *rand.Rand, l *ratelimit.SlidingWindow, limit int, d time.Duration) {
		start := time.Now()
		var events []event
		counts := map[time.Duration]int{}
		for range 2000 {
			n, now := 1+rng.IntN(min(limit, 3)), time.Since(start)
			index, gone := now/d, now%d
			// previous × (1 − gone/d) + current + n ≤ limit
			want := counts[index-1]*int(d-gone)+(counts[index]+n)*int(d) <= limit*int(d)
			require.Equal(t, want, l.AllowN(n))
			if want {
				events = append(events, event{now, n})
				counts[index] += n
			}
			time.Sleep(time.Duration(rng.IntN(2 * (int(d)/limit + 1))))
		}
		assert.LessOrEqual(t, most(events, d), max(2*limit-1, 1))
		for _, n := range counts {
			assert.LessOrEqual(t, n, limit)
		}
	})
}

// The worst case of the estimate is reached, so it is the worst case.
func TestSlidingWindow_rule29_estimateWorstCase(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const limit, d = 10, time.Second
		l, start := window(limit, d, false), time.Now()
		var events []event
		time.Sleep(d - 1) // the end of the first window of the grid
		for time.Since(start) < 2*d-1 {
			for l.Allow() {
				events = append(events, event{time.Since(start), 1})
			}
			time.Sleep(d / 100)
		}
		assert.Equal(t, 2*limit-1, most(events, d))
	})
}

func TestSlidingWindow_rule29_retryAfterIsTheFirstTimeThatAdmits(t *testing.T) {
	for _, exact := range []bool{true, false} {
		windows(t, exact, func(t *testing.T, rng *rand.Rand, l *ratelimit.SlidingWindow, limit int, d time.Duration) {
			for range 300 {
				if err := l.Do(t.Context(), nothing); err != nil {
					left, _ := thole.RetryAfter(err)
					require.Positive(t, left)
					time.Sleep(left - 1)
					require.False(t, l.Allow())
					time.Sleep(1)
					require.True(t, l.Allow())
				}
				time.Sleep(time.Duration(rng.IntN(int(d)/limit + 1)))
			}
		})
	}
}

func TestSlidingWindow_rule29_waitersKeepTheLimitToo(t *testing.T) {
	for _, exact := range []bool{true, false} {
		windows(t, exact, func(t *testing.T, rng *rand.Rand, l *ratelimit.SlidingWindow, limit int, d time.Duration) {
			start := time.Now()
			var mu sync.Mutex
			var events []event
			var all sync.WaitGroup
			for range 200 {
				n := 1 + rng.IntN(min(limit, 3))
				bounded := rng.IntN(2) == 0
				ctx, cancel := context.WithTimeout(t.Context(), time.Duration(1+rng.IntN(5*int(d))))
				if !bounded {
					ctx = t.Context()
				}
				began := time.Now()
				all.Go(func() {
					defer cancel()
					err := l.WaitN(ctx, n)
					if err == nil {
						mu.Lock()
						events = append(events, event{time.Since(start), n})
						mu.Unlock()
						return
					}
					assert.ErrorIs(t, err, ratelimit.ErrLimited)
					assert.Equal(t, began, time.Now(), "a time foreseen is kept")
				})
				synctest.Wait()
				time.Sleep(time.Duration(rng.IntN(int(d)/limit + 1)))
			}
			all.Wait()
			bound := limit
			if !exact {
				bound = 2*limit - 1
			}
			assert.LessOrEqual(t, most(events, d), bound, "exact %v, limit %d, window %d: %v", exact, limit, d, events)
		})
	}
}

func TestSlidingWindow_rule31_reconfigureKeepsCallsAndRetimesWaiters(t *testing.T) {
	for _, c := range []struct {
		name        string
		exact       bool
		limit       int
		window      time.Duration
		toExact     bool
		first, last time.Duration // of two waiters, from the change on, 300 ms after three calls
	}{
		{"exact, more", true, 4, time.Second, true, 0, 700 * time.Millisecond},
		{"exact, much more", true, 10, time.Second, true, 0, 0},
		{"exact, fewer", true, 1, time.Second, true, 700 * time.Millisecond, 1700 * time.Millisecond},
		{"exact, shorter", true, 3, 200 * time.Millisecond, true, 0, 0},
		{"exact, longer", true, 3, 2 * time.Second, true, 1700 * time.Millisecond, 1700 * time.Millisecond},
		{"exact to estimate", true, 3, time.Second, false, time.Second + 333_333_334, time.Second + 666_666_667},
		{"estimate, more", false, 4, time.Second, false, 0, 950 * time.Millisecond},
		{"estimate to exact", false, 3, time.Second, true, time.Second, time.Second},
		{"estimate, shorter", false, 3, 100 * time.Millisecond, false, 133_333_334, 166_666_667},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := window(3, time.Second, c.exact)
				drain(l)
				first := in(func() error { return l.Wait(t.Context()) })
				last := in(func() error { return l.Wait(t.Context()) })
				time.Sleep(300 * time.Millisecond)
				require.NoError(t, l.Reconfigure(ratelimit.SlidingWindowConfig{Limit: c.limit, Window: c.window, Exact: c.toExact}))
				start := time.Now()
				assert.NoError(t, <-first)
				assert.Equal(t, c.first, time.Since(start))
				assert.NoError(t, <-last)
				assert.Equal(t, c.last, time.Since(start))
			})
		})
	}
}

func TestSlidingWindow_rule31_whoCannotBeServedAfterAChangeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := window(3, time.Second, true)
		require.True(t, l.AllowN(3))
		large := in(func() error { return l.WaitN(t.Context(), 3) })
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		hasty := in(func() error { return l.Wait(ctx) })
		patient := in(func() error { return l.Wait(t.Context()) })
		require.NoError(t, l.Reconfigure(ratelimit.SlidingWindowConfig{Limit: 1, Window: 10 * time.Second, Exact: true}))
		assert.ErrorIs(t, result(t, large), ratelimit.ErrBurst)
		assert.ErrorIs(t, result(t, hasty), ratelimit.ErrLimited)
		blocked(t, patient)
		assert.Error(t, l.Reconfigure(ratelimit.SlidingWindowConfig{}))
		time.Sleep(10 * time.Second)
		assert.NoError(t, result(t, patient))
	})
}

// A change of the limit looked for the time at which the first in line has its tokens, which the
// new limit never gives, for ever and under the lock.
func TestSlidingWindow_rule31_limitLoweredBelowWhatTheFirstInLineWants(t *testing.T) {
	for _, exact := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := window(10, time.Second, exact)
			drain(l)
			small := in(func() error { return l.WaitN(t.Context(), 1) })
			large := in(func() error { return l.WaitN(t.Context(), 8) })
			behind := in(func() error { return l.WaitN(t.Context(), 5) })
			require.NoError(t, l.Reconfigure(ratelimit.SlidingWindowConfig{Limit: 5, Window: time.Second, Exact: exact}))
			assert.ErrorIs(t, result(t, large), ratelimit.ErrBurst)
			assert.NoError(t, <-small)
			assert.NoError(t, <-behind)
		})
	}
}

// The end of a part of the grid that lies centuries ahead is not one in the past.
func TestSlidingWindow_rule30_retryAfterOfAWindowOfACentury(t *testing.T) {
	const year = 365 * 24 * time.Hour
	for _, exact := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := window(1, 100*year, exact)
			require.NoError(t, l.Do(t.Context(), func(context.Context) error { return nil }))
			err := l.Do(t.Context(), func(context.Context) error { return nil })
			after, _ := thole.RetryAfter(err)
			assert.Equal(t, 100*year, after)
			time.Sleep(140 * year)
			after, _ = thole.RetryAfter(err)
			if exact {
				assert.Zero(t, after)
			} else {
				assert.Equal(t, 60*year, after)
			}
			time.Sleep(after)
			assert.True(t, l.Allow())
			after, _ = thole.RetryAfter(err)
			assert.Equal(t, 100*year, after, "or more: that is the most it says")
		})
	}
}
