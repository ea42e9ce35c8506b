package ratelimit_test

import (
	"context"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/ratelimit"
)

// shadowables make limiters of one token a minute, each with the switch of its shadow.
func shadowables() map[string]func(maxWait time.Duration) (limiter, func(shadow bool) error) {
	return map[string]func(time.Duration) (limiter, func(bool) error){
		"token bucket": func(maxWait time.Duration) (limiter, func(bool) error) {
			cfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Minute), MaxWait: maxWait}
			l := ratelimit.NewTokenBucket(cfg)
			return l, func(shadow bool) error {
				cfg.Shadow = shadow
				return l.Reconfigure(cfg)
			}
		},
		"sliding window": func(maxWait time.Duration) (limiter, func(bool) error) {
			cfg := ratelimit.SlidingWindowConfig{Limit: 1, Window: time.Minute, MaxWait: maxWait}
			l := ratelimit.NewSlidingWindow(cfg)
			return l, func(shadow bool) error {
				cfg.Shadow = shadow
				return l.Reconfigure(cfg)
			}
		},
		"exact window": func(maxWait time.Duration) (limiter, func(bool) error) {
			cfg := ratelimit.SlidingWindowConfig{Limit: 1, Window: time.Minute, Exact: true, MaxWait: maxWait}
			l := ratelimit.NewSlidingWindow(cfg)
			return l, func(shadow bool) error {
				cfg.Shadow = shadow
				return l.Reconfigure(cfg)
			}
		},
	}
}

func TestLimiter_shadowSwitchedOnLetsThoseGoWhoWait(t *testing.T) {
	for name, make := range shadowables() {
		synctest.Test(t, func(t *testing.T) {
			l, switchShadow := make(time.Hour)
			start := time.Now()
			var wg sync.WaitGroup
			for range 3 {
				wg.Go(func() {
					assert.NoError(t, l.Do(t.Context(), nothing), name)
					assert.Zero(t, time.Since(start), name)
				})
			}
			synctest.Wait()
			require.Equal(t, 2, l.Stats().Waiting)
			require.NoError(t, switchShadow(true))
			wg.Wait()
			s := l.Stats()
			require.Zero(t, s.Waiting)
			require.Equal(t, 3, s.Admitted+s.Rejected)
			if name == "token bucket" { // which books for a call in shadow what it would have waited for
				require.Equal(t, 3, s.Admitted)
				require.Equal(t, 2, s.Promised)
			}
			require.NoError(t, l.Do(t.Context(), nothing), "as those who come later")
			s = l.Stats()
			require.Equal(t, 4, s.Admitted+s.Rejected)
			require.Zero(t, time.Since(start))
		})
	}
}

// Who could not be served in time any more, or not at all, by what else is changed goes on too.
func TestTokenBucket_shadowSwitchedOnWithLessToGiveRefusesNobody(t *testing.T) {
	for _, cfg := range []ratelimit.TokenBucketConfig{
		{Rate: ratelimit.Per(1, 24*time.Hour), Burst: 5},
		{Rate: ratelimit.Per(1, time.Minute), Burst: 1},
		{Rate: ratelimit.Per(0, time.Minute)},
		{Rate: ratelimit.Unlimited},
	} {
		synctest.Test(t, func(t *testing.T) {
			l := bucket(ratelimit.Per(1, time.Minute), 5)
			require.True(t, l.AllowN(5))
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
			defer cancel()
			var wg sync.WaitGroup
			for n := 1; n <= 3; n++ {
				wg.Go(func() { assert.NoError(t, l.WaitN(ctx, n)) })
			}
			synctest.Wait()
			start := time.Now()
			cfg.Shadow = true
			require.NoError(t, l.Reconfigure(cfg))
			wg.Wait()
			require.Zero(t, time.Since(start))
			s := l.Stats()
			require.Equal(t, 4, s.Admitted+s.Rejected)
		})
	}
}

// Nobody gets in line who looked at the limiter just before.
func TestLimiter_shadowSwitchedOnWhileOthersCome(t *testing.T) {
	for name, make := range shadowables() {
		for range 300 {
			synctest.Test(t, func(t *testing.T) {
				l, switchShadow := make(time.Hour)
				start := time.Now()
				var wg sync.WaitGroup
				for i := range 20 {
					if i == 10 {
						wg.Go(func() { assert.NoError(t, switchShadow(true)) })
					}
					wg.Go(func() {
						assert.NoError(t, l.Do(t.Context(), nothing))
						assert.Zero(t, time.Since(start), name)
					})
				}
				wg.Wait()
				s := l.Stats()
				require.Equal(t, 20, s.Admitted+s.Rejected)
			})
		}
	}
}

// In shadow more calls came than the rate allows, for long. In force nobody waits for the times that
// were booked for them, but for those of reservations made in force.
func TestTokenBucket_shadowSwitchedOffLeavesNoQueueOfCallsThatWent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Second), Burst: 10, MaxWait: -1}
		l := ratelimit.NewTokenBucket(cfg)
		require.True(t, l.AllowN(10))
		kept := l.Reserve(10)
		cfg.Shadow = true
		require.NoError(t, l.Reconfigure(cfg))
		for range 500 {
			require.NoError(t, l.Do(t.Context(), nothing))
		}
		shadowed := l.Reserve(10)
		require.Equal(t, 520, l.Stats().Promised)
		require.Equal(t, time.Second, kept.Delay())

		cfg.Shadow = false
		require.NoError(t, l.Reconfigure(cfg))
		require.Equal(t, 10, l.Stats().Promised)
		require.Equal(t, time.Second, kept.Delay())
		shadowed.Cancel() // which is of no more effect
		start := time.Now()
		require.NoError(t, l.Do(t.Context(), nothing))
		require.Equal(t, 1100*time.Millisecond, time.Since(start))
		time.Sleep(time.Second)
		require.Equal(t, 10, l.Stats().Available)
	})
}

// Nor for those of calls that looked at the limiter just before.
func TestTokenBucket_shadowSwitchedOffWhileOthersCome(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			cfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Minute), MaxWait: time.Hour, Shadow: true}
			l := ratelimit.NewTokenBucket(cfg)
			var wg sync.WaitGroup
			for i := range 20 {
				if i == 10 {
					wg.Go(func() {
						off := cfg
						off.Shadow = false
						assert.NoError(t, l.Reconfigure(off))
					})
				}
				wg.Go(func() { assert.NoError(t, l.Do(t.Context(), nothing)) })
			}
			synctest.Wait()
			s := l.Stats()
			require.Zero(t, s.Promised)
			require.Equal(t, 20, s.Admitted+s.Waiting)
			require.NoError(t, l.Reconfigure(cfg))
			wg.Wait()
		})
	}
}
