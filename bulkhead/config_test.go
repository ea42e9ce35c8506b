package bulkhead_test

import (
	"context"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/bulkhead"
)

func TestConfig_rule05_refusals(t *testing.T) {
	for _, row := range []struct {
		cfg  bulkhead.Config
		want string
	}{
		{bulkhead.Config{}, "bulkhead: Limit is 0: want 1 to 1073741824 (required)"},
		{bulkhead.Config{Limit: -1}, "bulkhead: Limit is -1: want 1 to 1073741824 (required)"},
		{bulkhead.Config{Limit: bulkhead.MaxLimit + 1}, "bulkhead: Limit is 1073741825: want 1 to 1073741824 (required)"},
		{bulkhead.Config{Limit: math.MaxInt}, fmt.Sprintf("bulkhead: Limit is %d: want 1 to 1073741824 (required)", math.MaxInt)},
		{bulkhead.Config{Limit: 1, MaxWait: -1}, "bulkhead: MaxWait is -1ns: want 0 (as long as the context allows) to 876000 h"},
		{bulkhead.Config{Limit: 1, MaxWait: math.MaxInt64}, "bulkhead: MaxWait is 2562047h47m16.854775807s: want 0 (as long as the context allows) to 876000 h"},
		{bulkhead.Config{MaxWait: -1}, "bulkhead: Limit is 0: want 1 to 1073741824 (required)\nbulkhead: MaxWait is -1ns: want 0 (as long as the context allows) to 876000 h"},
	} {
		require.EqualError(t, row.cfg.Validate(), row.want)
		require.PanicsWithValue(t, row.want, func() { bulkhead.New(row.cfg) })
		require.EqualError(t, bulkhead.New(bulkhead.Config{Limit: 1}).Reconfigure(row.cfg), row.want)
	}
}

func TestConfig_rule05_extremesWork(t *testing.T) {
	for _, cfg := range []bulkhead.Config{
		{Limit: bulkhead.MaxLimit},
		{Limit: bulkhead.MaxLimit, MaxWaiting: math.MaxInt},
		{Limit: bulkhead.MaxLimit, MaxWaiting: math.MinInt, MaxWait: 876000 * time.Hour},
	} {
		b := bulkhead.New(cfg)
		all, err := b.AcquireN(context.Background(), bulkhead.MaxLimit)
		require.NoError(t, err)
		_, ok := b.TryAcquire()
		require.False(t, ok)
		ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
		_, err = b.AcquireN(ctx, bulkhead.MaxLimit)
		require.Error(t, err)
		cancel()
		require.Equal(t, bulkhead.MaxLimit, b.Stats().Limit)
		require.Equal(t, bulkhead.MaxLimit, b.Stats().InUse)
		all()
		requireWhole(t, b)
	}
}

// FuzzConfig: any numbers either are refused or make a bulkhead that keeps its limit.
func FuzzConfig(f *testing.F) {
	f.Add(1, 0, int64(0), false, 1)
	f.Add(0, -1, int64(-1), true, 0)
	f.Add(math.MaxInt, math.MaxInt, int64(math.MaxInt64), false, math.MaxInt)
	f.Add(bulkhead.MaxLimit, math.MinInt, int64(1), false, bulkhead.MaxLimit)
	f.Add(3, 1, int64(time.Microsecond), true, 4)
	f.Fuzz(func(t *testing.T, limit, waiting int, wait int64, shadow bool, n int) {
		cfg := bulkhead.Config{Limit: limit, MaxWaiting: waiting, MaxWait: time.Duration(wait), Shadow: shadow}
		if cfg.Validate() != nil {
			require.Panics(t, func() { bulkhead.New(cfg) })
			return
		}
		b := bulkhead.New(cfg)
		_ = b.Describe()
		release, err := b.AcquireN(context.Background(), n)
		switch {
		case n < 1, n > bulkhead.MaxLimit, n > limit && !shadow:
			require.ErrorIs(t, err, bulkhead.ErrWeight)
		case n > limit:
			require.NoError(t, err)
			require.Zero(t, b.Stats().InUse)
		default:
			require.NoError(t, err)
			require.Equal(t, n, b.Stats().InUse)
		}
		short, cancel := context.WithTimeout(context.Background(), 100*time.Microsecond)
		defer cancel()
		second, err := b.AcquireN(short, limit)
		require.LessOrEqual(t, b.Stats().InUse, limit)
		if err == nil {
			second()
		}
		release()
		release()
		require.False(t, b.InUse())
	})
}
