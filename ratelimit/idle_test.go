package ratelimit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

// A part of the grid without any call leaves nothing to be weighed in the next.
func TestSlidingWindow_rule29_aWholeWindowOfRestForgetsAll(t *testing.T) {
	for _, exact := range []bool{true, false} {
		synctest.Test(t, func(t *testing.T) {
			l := window(10, time.Second, exact)
			for range 20 {
				require.True(t, l.AllowN(10))
				require.False(t, l.Allow())
				time.Sleep(2 * time.Second) // the grid's part with the calls, and an empty one
			}
		})
	}
}

// A key's tokens stay spent for as long as refill takes, also while the key's clock is set to a
// later origin, which happens after seconds to months depending on the rate.
func TestKeyed_rule28_whatIsSpentStaysSpentForHours(t *testing.T) {
	for _, r := range []ratelimit.Rate{ratelimit.Per(333_333, time.Second), ratelimit.Per(999_983, time.Second)} {
		synctest.Test(t, func(t *testing.T) {
			burst := r.Count * 4 // four seconds' worth, which words can tell
			l := ratelimit.NewKeyed[string](ratelimit.TokenBucketConfig{Rate: r, Burst: burst}, thole.KeyedConfig{IdleFor: time.Hour})
			plain := newReference(r, burst)
			start := time.Now()
			for range 4000 {
				for _, n := range []int{burst, burst / 2, 1} {
					require.Equal(t, plain.allow(n, time.Since(start)), l.AllowN("a", n), "%v: %d after %v", r, n, time.Since(start))
				}
				time.Sleep(time.Second + 7)
			}
		})
	}
}

// In shadow a call that would have waited is one admitted, and its tokens are booked.
func TestTokenBucket_shadowAdmitsWhoWouldHaveWaited(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Second), Shadow: true})
		for range 3 {
			require.NoError(t, l.Wait(t.Context()))
		}
		s := l.Stats()
		require.Equal(t, 3, s.Admitted)
		require.Zero(t, s.Rejected)
	})
}

var packageBucket = ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Second), MaxWait: -1})

func TestTokenBucket_rule07_madeOutsideTheBubbleItIsUsedIn(t *testing.T) {
	for range 3 { // a bucket in its second bubble waited until that was as old as the first
		synctest.Test(t, func(t *testing.T) {
			start := time.Now()
			for range 5 {
				require.NoError(t, packageBucket.Do(t.Context(), func(context.Context) error { return nil }))
			}
			require.Equal(t, 4*time.Second, time.Since(start))
		})
	}
}
