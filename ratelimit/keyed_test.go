package ratelimit_test

import (
	"math"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

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
		assert.Equal(t, ratelimit.KeyedStats{Keys: 2, Admitted: 2, Rejected: 2}, l.Stats())
		time.Sleep(100 * time.Millisecond)
		assert.True(t, l.Allow("a"))
		assert.Equal(t, "keyed ratelimit[user]", l.String())
		assert.True(t, l.Describe().Keyed)
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
