package ratelimit_test

import (
	"context"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

const century = 100 * 365 * day

func TestTokenBucketConfig_rule05_invalidNumbersAreRefused(t *testing.T) {
	ok := ratelimit.Per(10, time.Second)
	for _, c := range []struct {
		cfg  ratelimit.TokenBucketConfig
		want []string // of the message: field, value, what is allowed
	}{
		{ratelimit.TokenBucketConfig{}, []string{"Rate", "zero", "required"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Rate{Count: 5}}, []string{"Rate.Per", "0s", "more than 0"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Per(5, -time.Second)}, []string{"Rate.Per", "-1s", "more than 0"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Per(5, math.MaxInt64)}, []string{"Rate.Per", "at most 876000 h"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Per(-5, time.Second)}, []string{"Rate.Count", "-5", "0 (denies all) or more"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Per(2, 1)}, []string{"Rate", "2/ns", "at most 1 per nanosecond"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Per(math.MaxInt, time.Second)}, []string{"Rate", "at most 1 per nanosecond"}},
		{ratelimit.TokenBucketConfig{Rate: ok, Burst: -1}, []string{"Burst", "-1", "0 (1 token) or more"}},
		{ratelimit.TokenBucketConfig{Rate: ok, Burst: math.MaxInt}, []string{"Burst", "9223372036854775807", "876000 h would fill at the rate of 10/s"}},
		{ratelimit.TokenBucketConfig{Rate: ratelimit.Unlimited, Burst: -1}, []string{"Burst", "-1"}},
		{ratelimit.TokenBucketConfig{Rate: ok, MaxWait: math.MaxInt64}, []string{"MaxWait", "876000 h"}},
	} {
		err := c.cfg.Validate()
		require.Error(t, err)
		for _, want := range append(c.want, "ratelimit: ") {
			assert.ErrorContains(t, err, want)
		}
		assert.PanicsWithValue(t, err.Error(), func() { ratelimit.NewTokenBucket(c.cfg) })
		assert.PanicsWithValue(t, err.Error(), func() { ratelimit.NewKeyed[int](c.cfg, thole.KeyedConfig{}) })
		assert.Error(t, bucket(ok, 1).Reconfigure(c.cfg))
	}
	for _, cfg := range []ratelimit.TokenBucketConfig{
		{Rate: ratelimit.Unlimited, Burst: math.MaxInt},
		{Rate: ratelimit.Per(0, 1), Burst: math.MaxInt},
		{Rate: ratelimit.Per(1, 1), Burst: math.MaxInt / 3},
		{Rate: ok, MaxWait: math.MinInt64},
	} {
		assert.NoError(t, cfg.Validate())
	}
}

func TestSlidingWindowConfig_rule05_invalidNumbersAreRefused(t *testing.T) {
	for _, c := range []struct {
		cfg  ratelimit.SlidingWindowConfig
		want []string
	}{
		{ratelimit.SlidingWindowConfig{Window: 1}, []string{"Limit", "0", "at least 1"}},
		{ratelimit.SlidingWindowConfig{Limit: -1, Window: 1}, []string{"Limit", "-1", "at least 1"}},
		{ratelimit.SlidingWindowConfig{Limit: 1}, []string{"Window", "0s", "more than 0"}},
		{ratelimit.SlidingWindowConfig{Limit: 1, Window: -1}, []string{"Window", "-1ns", "more than 0"}},
		{ratelimit.SlidingWindowConfig{Limit: 1, Window: math.MaxInt64}, []string{"Window", "at most 876000 h"}},
		{ratelimit.SlidingWindowConfig{Limit: ratelimit.MaxExactLimit + 1, Window: 1, Exact: true}, []string{"Limit", "1048577", "at most 1048576 with Exact"}},
		{ratelimit.SlidingWindowConfig{Limit: 1, Window: 1, MaxWait: math.MaxInt64}, []string{"MaxWait"}},
	} {
		err := c.cfg.Validate()
		require.Error(t, err)
		for _, want := range append(c.want, "ratelimit: ") {
			assert.ErrorContains(t, err, want)
		}
		assert.PanicsWithValue(t, err.Error(), func() { ratelimit.NewSlidingWindow(c.cfg) })
	}
	assert.NoError(t, ratelimit.SlidingWindowConfig{Limit: math.MaxInt, Window: century}.Validate())
}

func TestRate_String(t *testing.T) {
	for want, r := range map[string]ratelimit.Rate{
		"100/s":     ratelimit.Per(100, time.Second),
		"3/1m30s":   ratelimit.Per(3, 90*time.Second),
		"3/15m":     ratelimit.Per(3, 15*time.Minute),
		"3/24h":     ratelimit.Per(3, day),
		"1/h":       ratelimit.Per(1, time.Hour),
		"2/m":       ratelimit.Per(2, time.Minute),
		"7/µs":      ratelimit.Per(7, time.Microsecond),
		"5/10ms":    ratelimit.Per(5, 10*time.Millisecond),
		"0/s":       ratelimit.Per(0, time.Second),
		"unlimited": ratelimit.Unlimited,
	} {
		assert.Equal(t, want, r.String())
	}
}

func TestLimitError_zeroValueIsUsable(t *testing.T) {
	err := &ratelimit.LimitError{Name: "x"}
	assert.Zero(t, err.RetryAfter())
	assert.ErrorIs(t, err, ratelimit.ErrLimited)
	assert.ErrorIs(t, ratelimit.ErrLimited, thole.ErrRejected)
	assert.ErrorIs(t, ratelimit.ErrBurst, thole.ErrRejected)
}

// FuzzConfig: any numbers are refused, or make a limiter that keeps its bound and does not
// panic, whatever it is asked.
func FuzzConfig(f *testing.F) {
	f.Add(10, int64(time.Second), 1, int64(0), int64(0), 1, 1, int64(time.Second), false)
	f.Add(3, int64(time.Second), 5, int64(-1), int64(333333333), 2, 1000, int64(1), true)
	f.Add(999_999_937, int64(day), 1<<40, int64(century), int64(day), 1<<30, 1<<20, int64(century), true)
	f.Add(1, int64(1), math.MaxInt/3, int64(1), int64(1), math.MaxInt, math.MaxInt, int64(century), false)
	f.Add(math.MaxInt, int64(1), math.MaxInt, int64(1), int64(700*day), math.MinInt, -1, int64(0), false)
	f.Add(1, int64(century-1), 1, int64(1), int64(700*day), 1, -1, int64(0), false)
	f.Fuzz(func(t *testing.T, count int, per int64, burst int, maxWait, pause int64, n, limit int, width int64, exact bool) {
		pause = max(pause, 0) % int64(2*365*day) // the clock of a bubble ends in 2262
		synctest.Test(t, func(t *testing.T) {
			cfg := ratelimit.TokenBucketConfig{
				Rate: ratelimit.Per(count, time.Duration(per)), Burst: burst, MaxWait: time.Duration(maxWait),
			}
			if cfg.Validate() != nil {
				assert.Panics(t, func() { ratelimit.NewTokenBucket(cfg) })
			} else {
				l := ratelimit.NewTokenBucket(cfg)
				drive(t, l, time.Duration(pause), n)
				for _, m := range []int{1, n} {
					r := l.Reserve(m)
					_ = r.Delay()
					time.Sleep(time.Duration(pause))
					r.Cancel()
				}
				require.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(3, time.Second), Burst: 7}))
				require.NoError(t, l.Reconfigure(cfg))
				s := l.Stats()
				assert.GreaterOrEqual(t, s.Available, 0)
				if cfg.Rate != ratelimit.Unlimited {
					assert.LessOrEqual(t, s.Available, max(burst, 1))
				}
			}
			wcfg := ratelimit.SlidingWindowConfig{Limit: limit, Window: time.Duration(width), Exact: exact, MaxWait: time.Duration(maxWait)}
			if wcfg.Validate() != nil {
				assert.Panics(t, func() { ratelimit.NewSlidingWindow(wcfg) })
				return
			}
			l := ratelimit.NewSlidingWindow(wcfg)
			drive(t, l, time.Duration(pause), n)
			wcfg.Exact = false
			require.NoError(t, l.Reconfigure(wcfg))
			drive(t, l, time.Duration(pause), n)
			assert.LessOrEqual(t, l.Stats().Available, limit)
		})
	})
}

func drive(t *testing.T, l limiter, pause time.Duration, n int) {
	require.True(t, l.AllowN(0))
	require.False(t, l.AllowN(-1))
	for range 3 {
		_ = l.Allow()
		_ = l.AllowN(n)
		ctx, cancel := context.WithTimeout(t.Context(), pause+1)
		_ = l.WaitN(ctx, n)
		if err := l.Do(ctx, nothing); err != nil {
			left, _ := thole.RetryAfter(err)
			assert.LessOrEqual(t, left, century)
			if left == 0 && ctx.Err() == nil { // free again
				assert.NoError(t, l.Do(ctx, nothing))
			}
		}
		cancel()
		_ = l.InUse()
		_ = l.Describe()
		time.Sleep(pause)
	}
}
