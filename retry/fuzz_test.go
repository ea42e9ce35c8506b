package retry_test

import (
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/retry"
)

// FuzzConfig: any numbers are refused, or work.
func FuzzConfig(f *testing.F) {
	f.Add(0, int64(0), int64(0), int64(0))
	f.Add(-1, int64(time.Second), int64(1), int64(-5))
	f.Add(math.MaxInt, int64(math.MaxInt64), int64(math.MinInt64), int64(math.MaxInt64))
	f.Add(1<<30, int64(1), int64(check.MaxDuration), int64(check.MaxDuration))
	f.Fuzz(func(t *testing.T, attempts int, elapsed, after, delay int64) {
		cfg := retry.Config{MaxAttempts: attempts, MaxElapsed: time.Duration(elapsed), MaxRetryAfter: time.Duration(after),
			Backoff: func() backoff.BackOff { return backoff.NewConstantBackOff(time.Duration(delay)) }}
		if err := cfg.Validate(); err != nil {
			require.Panics(t, func() { retry.New(cfg) })
			return
		}
		synctest.Test(t, func(t *testing.T) {
			r := retry.New(cfg)
			d := r.Describe()
			require.GreaterOrEqual(t, d.Pauses, time.Duration(0))
			fn := newScript(&told{after: time.Duration(after), outcome: thole.Failure}, errBoom, &told{after: time.Duration(delay), outcome: thole.Failure}, nil)
			start := time.Now()
			err := r.Do(t.Context(), fn.run)
			if attempts > 0 {
				require.LessOrEqual(t, fn.runs(), attempts)
			}
			if elapsed > 0 {
				require.LessOrEqual(t, time.Since(start), time.Duration(elapsed))
			}
			var e *retry.Error
			if errors.As(err, &e) {
				require.Equal(t, fn.runs(), e.Attempts)
				require.Equal(t, time.Since(start), e.Elapsed)
			}
		})
	})
}
