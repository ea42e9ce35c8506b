package ratelimit_test

import (
	"math"
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

func TestKeyed_eachKeyHasItsOwnBucket(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewKeyed[string](ratelimit.TokenBucketConfig{Name: "user", Rate: ratelimit.Per(10, time.Second), Burst: 2}, thole.KeyedConfig{})
		for _, key := range []string{"a", "b"} {
			assert.True(t, l.AllowN(key, 2))
			assert.False(t, l.Allow(key))
		}
		assert.Equal(t, 2, l.Len())
		assert.Equal(t, ratelimit.KeyedStats{Keys: 2, Rejected: 2}, l.Stats())
		time.Sleep(100 * time.Millisecond)
		assert.True(t, l.Allow("a"))
		assert.Equal(t, "keyed ratelimit[user]", l.String())
		assert.True(t, l.Describe().Keyed)
		assert.Zero(t, l.Describe().MaxWait, "a keyed limiter does not wait")
	})
}

// Making place for a new key must not give an old one its tokens anew.
func TestKeyed_boundedAndFailsClosed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Second)}, thole.KeyedConfig{MaxKeys: 3})
		for key := range 3 {
			assert.True(t, l.Allow(key))
		}
		for key := 3; key < 100; key++ {
			assert.False(t, l.Allow(key), "all keys are in debt")
		}
		for key := range 3 {
			assert.False(t, l.Allow(key), "and were not forgotten")
		}
		assert.Equal(t, 3, l.Len())
		assert.Equal(t, 97, l.Stats().Crowded)
		time.Sleep(time.Second)
		assert.True(t, l.Allow(99), "who has paid makes place")
		assert.Equal(t, 3, l.Len())
		time.Sleep(time.Hour)
		assert.Zero(t, l.Len(), "idle")
	})
}

func TestKeyed_shadowAndNaN(t *testing.T) {
	cfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second)}
	assert.False(t, ratelimit.NewKeyed[float64](cfg, thole.KeyedConfig{}).Allow(math.NaN()))
	cfg.Shadow = true
	l := ratelimit.NewKeyed[float64](cfg, thole.KeyedConfig{MaxKeys: 1})
	assert.True(t, l.Allow(1))
	assert.True(t, l.Allow(math.NaN()))
	assert.Equal(t, 1, l.Stats().Rejected)
}

func TestKeyed_concurrent(t *testing.T) {
	l := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: 10}, thole.KeyedConfig{MaxKeys: 50})
	var all sync.WaitGroup
	var mu sync.Mutex
	admitted := map[int]int{}
	for range 8 {
		all.Go(func() {
			for i := range 5000 {
				if key := i % 100; l.Allow(key) {
					mu.Lock()
					admitted[key]++
					mu.Unlock()
				}
			}
		})
	}
	all.Wait()
	assert.Len(t, admitted, 50)
	for key, n := range admitted {
		assert.Equal(t, 10, n, key)
	}
}

// Each key's bucket decides as a TokenBucket does, for every kind of rate and over long times.
func TestKeyed_rule28_agreesWithAPlainBucketAndKeepsTheBound(t *testing.T) {
	for i, r := range rates {
		for seed := range uint64(3) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				burst := 1
				if float64(r.Per)/float64(r.Count) < float64(day) {
					burst += rng.IntN(4)
				}
				l := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: r, Burst: burst}, thole.KeyedConfig{})
				model, start := newReference(r, burst), time.Now()
				var events []event
				for range 400 {
					time.Sleep(step(rng, r))
					now, n := time.Since(start), 1+rng.IntN(burst)
					got := l.AllowN(1, n)
					require.Equal(t, model.allow(n, now), got, "%v burst %d, %d tokens at %d", r, burst, n, now)
					if got {
						events = append(events, event{now, n})
					}
				}
				requireBound(t, r, burst, events)
			})
		}
	}
}

func TestKeyed_rule32_zeroDeniesAllUnlimitedAdmitsAll(t *testing.T) {
	none := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second)}, thole.KeyedConfig{})
	all := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: ratelimit.Unlimited}, thole.KeyedConfig{MaxKeys: 2})
	some := ratelimit.NewKeyed[int](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: 3}, thole.KeyedConfig{})
	for key := range 10 {
		assert.False(t, none.Allow(key))
		assert.True(t, none.AllowN(key, 0))
		assert.True(t, all.AllowN(key, 1_000_000))
		assert.False(t, all.AllowN(key, -1))
		assert.False(t, some.AllowN(key, 4))
		assert.False(t, some.AllowN(key, -4))
		assert.True(t, some.AllowN(key, 3))
	}
}

// A key that had been used outside of a bubble hung in it for ever.
func TestKeyed_rule07_usedOutsideAndThenInABubble(t *testing.T) {
	k := ratelimit.NewKeyed[string](ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Second), Burst: 2}, thole.KeyedConfig{})
	use := func() {
		assert.True(t, k.AllowN("a", 2))
		assert.False(t, k.Allow("a"))
	}
	use()
	for range 3 { // the second bubble begins before the origin that the first has set
		synctest.Test(t, func(*testing.T) {
			time.Sleep(time.Second)
			use()
			time.Sleep(time.Second)
			assert.True(t, k.Allow("a"))
			time.Sleep(365 * 24 * time.Hour) // beyond the horizon
			use()
		})
	}
	use()
}
