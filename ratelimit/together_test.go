package ratelimit_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

// The clock of a bubble stands still while anybody runs. So however many callers come together,
// how many of their single tokens are there is a matter of the rule alone, and of no order.

// together has that many callers ask for a token that many times each, and returns how many got
// one.
func together(l limiter, callers, times int) int {
	var got atomic.Int64
	var all sync.WaitGroup
	start := make(chan struct{})
	for range callers {
		all.Go(func() {
			<-start
			for range times {
				if l.Allow() {
					got.Add(1)
				}
			}
		})
	}
	close(start)
	all.Wait()
	return int(got.Load())
}

// plainWindow is a sliding window as a list of all that it ever admitted.
type plainWindow struct {
	limit  int
	window time.Duration
	exact  bool
	taken  []event
}

func (p *plainWindow) allow(now time.Duration) bool {
	weight, current := 0, 0 // those of the part before, in nanoseconds, and of this one
	for i := len(p.taken) - 1; i >= 0 && p.taken[i].at > now-2*p.window; i-- {
		e := p.taken[i]
		switch {
		case p.exact && e.at > now-p.window, !p.exact && e.at/p.window == now/p.window:
			current += e.n
		case !p.exact && e.at/p.window == now/p.window-1:
			weight += e.n * int(p.window-now%p.window)
		}
	}
	if weight+(current+1)*int(p.window) > p.limit*int(p.window) {
		return false
	}
	if i := len(p.taken) - 1; i >= 0 && p.taken[i].at == now {
		p.taken[i].n++
	} else {
		p.taken = append(p.taken, event{now, 1})
	}
	return true
}

// pause is a time after which something may be different: within a part of the grid, at its
// end, just before it, or parts later.
func pause(rng *rand.Rand, now, window time.Duration) time.Duration {
	switch rng.IntN(5) {
	case 0:
		return window - now%window
	case 1:
		return max(window-now%window-1, 1)
	case 2:
		return time.Duration(1+rng.IntN(4))*window + time.Duration(rng.IntN(int(window)))
	}
	return time.Duration(1 + rng.IntN(int(window)/3+1))
}

func TestSlidingWindow_rule29_noCallIsLostOrWonWhereManyComeTogether(t *testing.T) {
	for seed := range uint64(24) {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 1))
			exact := seed%3 == 0
			cfg := ratelimit.SlidingWindowConfig{Limit: 1 + rng.IntN(600), Window: time.Duration(1 + rng.IntN(1000)), Exact: exact}
			l := ratelimit.NewSlidingWindow(cfg)
			plain := &plainWindow{limit: cfg.Limit, window: cfg.Window, exact: exact}
			start := time.Now()
			var admitted, refused int
			for range 60 {
				callers, times := 1+rng.IntN(8), 1+rng.IntN(60)
				got, want := together(l, callers, times), 0
				for range callers * times {
					if plain.allow(time.Since(start)) {
						want++
					}
				}
				require.Equal(t, want, got, "%d of %d after %v", cfg.Limit, cfg.Window, time.Since(start))
				admitted += got
				refused += callers*times - got
				s := l.Stats()
				require.Equal(t, admitted, s.Admitted)
				require.Equal(t, refused, s.Rejected)
				if rng.IntN(4) == 0 { // what is counted may be more than the new limit, and than its bits can tell
					cfg.Limit = 1 + rng.IntN(600)
					plain.limit = cfg.Limit
					require.NoError(t, l.Reconfigure(cfg))
				}
				time.Sleep(pause(rng, time.Since(start), cfg.Window))
			}
		})
	}
}

// Limits that take all the bits of the word, those for which there are too few, and windows
// whose parts a word tells few of.
func TestSlidingWindow_rule29_limitsOfAnySize(t *testing.T) {
	const large = 1 << 26
	for _, limit := range []int{1, 2, 255, 256, large - 1, large, 2*large - 1, 2 * large, 1 << 50} {
		for _, d := range []time.Duration{1, 250 * time.Microsecond, 500 * time.Microsecond, time.Hour} {
			if d == time.Hour && limit > 2*large {
				continue // beyond the plain formula
			}
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(uint64(limit), uint64(d)))
				l, start := window(limit, d, false), time.Now()
				counts := map[time.Duration]int{}
				for range 200 {
					n, now := 1+rng.IntN(limit), time.Since(start)
					part, left := now/d, d-now%d
					room := limit - counts[part] - n
					want := room >= 0 && float64(counts[part-1])*float64(left) <= float64(room)*float64(d)
					require.Equal(t, want, l.AllowN(n), "%d of %d in %v", n, limit, d)
					if want {
						counts[part] += n
					}
					if counts[part]+counts[part-1] > 0 && l.InUse() != true {
						require.Fail(t, "in use", "%d of %d in %v", n, limit, d)
					}
					time.Sleep(pause(rng, now, d))
				}
			})
		}
	}
}

// While somebody waits nobody else gets a token, whoever comes together with the moment at which
// some are due; and those that wait get all of them.
func TestLimiter_rule31_nobodyPassesWhereManyComeTogether(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		rng := rand.New(rand.NewPCG(1, 1))
		var all sync.WaitGroup
		var served atomic.Int64
		waited, passed := 0, 0
		for range 300 {
			drain(l)
			for range rng.IntN(4) {
				waited++
				all.Go(func() {
					if assert.NoError(t, l.Wait(t.Context())) {
						served.Add(1)
					}
				})
				synctest.Wait()
			}
			for range 1 + rng.IntN(6) {
				time.Sleep(time.Duration(rng.IntN(int(tick))))
				got := together(l, 4, 5)
				if l.Stats().Waiting > 0 {
					require.Zero(t, got)
				}
				passed += got
			}
		}
		time.Sleep(time.Minute)
		all.Wait()
		require.EqualValues(t, waited, served.Load())
		require.Positive(t, passed)
	})
}

// While some take, others look, and change nothing: not a token is lost or won, nor a call of the
// counts.
func TestLimiter_rule30_looksAndChangesWhileOthersTake(t *testing.T) {
	const limit, callers, times = 5000, 4, 3000
	bucketCfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: limit}
	windowCfg := ratelimit.SlidingWindowConfig{Limit: limit, Window: time.Hour}
	exactCfg := windowCfg
	exactCfg.Exact = true
	b, w, x := ratelimit.NewTokenBucket(bucketCfg), ratelimit.NewSlidingWindow(windowCfg), ratelimit.NewSlidingWindow(exactCfg)
	for name, c := range map[string]struct {
		limiter
		again func() error
	}{
		"bucket":   {b, func() error { return b.Reconfigure(bucketCfg) }},
		"estimate": {w, func() error { return w.Reconfigure(windowCfg) }},
		"exact":    {x, func() error { return x.Reconfigure(exactCfg) }},
	} {
		t.Run(name, func(t *testing.T) {
			stop := make(chan struct{})
			var others sync.WaitGroup
			others.Go(func() {
				for last := 0; ; {
					select {
					case <-stop:
						return
					default:
					}
					_ = c.InUse()
					s := c.Stats()
					assert.GreaterOrEqual(t, s.Admitted, last)
					assert.Equal(t, limit, s.Admitted+s.Available)
					last = s.Admitted
					assert.NoError(t, c.again())
				}
			})
			got := together(c.limiter, callers, times)
			close(stop)
			others.Wait()
			assert.Equal(t, limit, got)
			s := c.Stats()
			assert.Equal(t, limit, s.Admitted)
			if name != "bucket" {
				assert.Equal(t, callers*times-limit, s.Rejected)
			}
		})
	}
}

// stale is a policy that reads the clock which its chain shares, and then lets time pass.
type stale struct{ pause func() }

func (stale) Describe() thole.Description { return thole.Description{Kind: "stale", Blocking: true} }

func (p stale) Do(ctx context.Context, fn func(context.Context) error) error {
	return p.DoTimed(ctx, fn, nil)
}

func (p stale) DoTimed(ctx context.Context, fn func(context.Context) error, clock *thole.Clock) error {
	clock.Since(time.Now())
	p.pause()
	return fn(ctx)
}

// Whoever comes with an old reading of the clock does not bring back the part of the grid in which
// it was made, nor an older window; and of the part before no more counts than there was.
func TestSlidingWindow_rule29_anOldReadingMovesNothingBack(t *testing.T) {
	for _, exact := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			l := window(4, time.Second, exact)
			require.True(t, l.AllowN(4))
			time.Sleep(100 * time.Millisecond)
			late := func(pause func()) error {
				neighbour := window(1, time.Second, exact) // with whom l shares the reading
				return thole.Chain(stale{pause}, l, neighbour).Do(t.Context(), nothing)
			}
			require.NoError(t, late(func() {
				time.Sleep(3 * time.Second)
				require.True(t, l.AllowN(3))
			}), "the fourth")
			require.Error(t, late(func() {}))
			require.False(t, l.Allow())
			require.Equal(t, ratelimit.Stats{Admitted: 3, Rejected: 2}, l.Stats())
			time.Sleep(5 * time.Second)
			require.True(t, l.AllowN(2))
			require.NoError(t, late(func() {
				time.Sleep(999 * time.Millisecond)
				require.True(t, l.Allow())
			}), "the fourth, or the third in which the part before weighs two")
			require.False(t, l.Allow())
			if exact {
				time.Sleep(time.Millisecond)
				require.True(t, l.AllowN(2), "for two of a second ago; the other two have just been")
				require.False(t, l.Allow())
			}
		})
	}
}
