package breaker_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

// Whatever the numbers: they are refused, or the breaker lives through a storm without a panic,
// opens for no longer than it says, and recovers.
func FuzzConfig(f *testing.F) {
	f.Add(0, 0.0, 0, int64(0), 0, int64(0), 0.0, int64(0), int64(0), 0, 0, int64(0), int64(0))
	f.Add(5, 0.5, 20, int64(time.Second), 0, int64(time.Second), 0.5, int64(time.Second), int64(time.Minute), 3, 5, int64(time.Second), int64(time.Minute))
	f.Add(0, 1e-300, 1, int64(0), 1, int64(1), 1e-300, int64(1), int64(1), 1, 1, int64(1), int64(1))
	f.Add(1<<31-1, 1.0, 1<<31-1, int64(24*time.Hour), 1<<20, int64(876000*time.Hour), 1.0, int64(876000*time.Hour), int64(876000*time.Hour), 10000, 1<<31-1, int64(876000*time.Hour), int64(876000*time.Hour))
	f.Add(-1, -1.0, -1, int64(-1), -1, int64(-1), -1.0, int64(-1), int64(-1), -1, -1, int64(-1), int64(1)<<62)
	f.Fuzz(func(t *testing.T, consecutive int, ratio float64, minCalls int, window int64, windowCalls int, slowCall int64,
		slowRatio float64, openFor, maxOpenFor int64, probes, successes int, probeTimeout, rampUp int64,
	) {
		cfg := breaker.Config{
			ConsecutiveFailures: consecutive, FailureRatio: ratio, MinCalls: minCalls, Window: time.Duration(window),
			WindowCalls: windowCalls, SlowCall: time.Duration(slowCall), SlowRatio: slowRatio,
			OpenFor: time.Duration(openFor), MaxOpenFor: time.Duration(maxOpenFor), Probes: probes,
			ProbeSuccesses: successes, ProbeTimeout: time.Duration(probeTimeout), RampUp: time.Duration(rampUp),
		}
		if err := cfg.Validate(); err != nil {
			require.Panics(t, func() { breaker.New(cfg) })
			return
		}
		synctest.Test(t, func(t *testing.T) {
			b := breaker.New(cfg)
			ctx := context.Background()
			for range 100 {
				_ = b.Do(ctx, down)
				_ = b.Do(ctx, up)
			}
			time.Sleep(time.Millisecond)
			b.Stats()
			b.Isolate(time.Second)
			err := b.Do(ctx, up)
			after, ok := thole.RetryAfter(err)
			require.True(t, ok)
			require.Equal(t, time.Second, after)
			time.Sleep(time.Second)
			require.Equal(t, breaker.HalfOpen, b.State())
			require.ErrorIs(t, b.Do(ctx, down), errDown)
			s := b.Stats()
			if s.State == breaker.Open {
				require.Positive(t, s.OpenLeft)
			}
			b.Reset()
			require.NoError(t, b.Reconfigure(breaker.Config{}))
			require.NoError(t, b.Do(ctx, up))
			require.NoError(t, b.Reconfigure(cfg))
			require.NoError(t, b.Do(ctx, up))
		})
	})
}

func TestBreaker_reconfigureKeepsStateAndCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Name: "old", Window: 10 * time.Second})
		times(10, b, down)
		times(5, b, up)
		for _, window := range []time.Duration{20 * time.Second, 10 * time.Second, 20 * time.Second} {
			require.NoError(t, b.Reconfigure(breaker.Config{Name: "new", Window: window}))
			assert.Equal(t, 15, b.Stats().Calls)
			assert.Equal(t, 10, b.Stats().Failures)
		}
		require.NoError(t, b.Reconfigure(breaker.Config{Name: "new", MinCalls: 16}))
		times(1, b, up) // lower thresholds hold from the next call on, a success too
		require.Equal(t, breaker.Open, b.State())
		assert.EqualError(t, do(b, up), "breaker[new]: open")

		// Open for no longer than the new bound, but not opened anew or closed.
		require.NoError(t, b.Reconfigure(breaker.Config{MaxOpenFor: time.Second}))
		assert.Equal(t, time.Second, b.Stats().OpenLeft)
		require.NoError(t, b.Reconfigure(breaker.Config{}))
		assert.Equal(t, time.Second, b.Stats().OpenLeft)
		b.Isolate(time.Hour)
		require.NoError(t, b.Reconfigure(breaker.Config{MaxOpenFor: time.Second}))
		assert.Equal(t, time.Hour, b.Stats().OpenLeft)
	})
}

func TestBreaker_reconfigureKeepsProbesAndRow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{Probes: 2})
		one, two := allow(t, b), allow(t, b)
		require.NoError(t, b.Reconfigure(breaker.Config{Probes: 3, ProbeSuccesses: 2}))
		allow(t, b)
		_, err := b.Allow(context.Background())
		require.ErrorIs(t, err, breaker.ErrOpen)
		one(nil)
		two(nil)
		require.Equal(t, breaker.Closed, b.State())

		times(2, b, down)
		require.NoError(t, b.Reconfigure(breaker.Config{ConsecutiveFailures: 3, WindowCalls: 10}))
		times(1, b, down)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestBreaker_reconfigureWhileCallsAreInFlight(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{SlowCall: 10 * time.Second, MinCalls: 2})
		one, two := allow(t, b), allow(t, b)
		time.Sleep(2 * time.Second)
		require.NoError(t, b.Reconfigure(breaker.Config{SlowCall: 10 * time.Second, WindowCalls: 10, MinCalls: 3}))
		require.Zero(t, b.Stats().Slow)
		require.NoError(t, b.Reconfigure(breaker.Config{SlowCall: time.Second, WindowCalls: 10, MinCalls: 3}))
		require.Equal(t, 2, b.Stats().Slow)
		require.NoError(t, b.Reconfigure(breaker.Config{}))
		require.Zero(t, b.Stats().Slow)
		one(nil)
		require.NoError(t, b.Reconfigure(breaker.Config{SlowCall: time.Second, SlowRatio: 0.5, MinCalls: 3}))
		require.Equal(t, 1, b.Stats().Slow)
		require.NoError(t, b.Reconfigure(breaker.Config{SlowCall: time.Second, SlowRatio: 0.5, MinCalls: 2}))
		require.Equal(t, breaker.Open, b.State())
		two(nil)
	})
}

func TestBreaker_reconfigureMeasuresTheRampAnew(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{RampUp: 10 * time.Second})
		times(1, b, up)
		time.Sleep(5 * time.Second)
		assert.InDelta(t, 0.5, b.Stats().AdmittedShare, 1e-9)
		require.NoError(t, b.Reconfigure(breaker.Config{RampUp: 20 * time.Second}))
		assert.InDelta(t, 0.25, b.Stats().AdmittedShare, 1e-9)
		require.NoError(t, b.Reconfigure(breaker.Config{}))
		assert.InDelta(t, 1, b.Stats().AdmittedShare, 1e-9)
		require.NoError(t, do(b, up))
	})
}

// The open time that is not set fits the longest one that is.
func TestBreaker_openForIsNoLongerThanMaxOpenFor(t *testing.T) {
	for most, want := range map[time.Duration]string{time.Second: "1s", 10 * time.Second: "5s", 0: "5s"} {
		d := breaker.New(breaker.Config{MaxOpenFor: most}).Describe()
		require.Contains(t, d.Settings, thole.Setting{Key: "OpenFor", Value: want}, most)
	}
}

// A call is slow when it has taken longer than SlowCall, and not yet when it has taken as long.
func TestBreaker_rule14_slowIsLongerThanSlowCall(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{SlowCall: time.Second, MinCalls: 1})
		allow(t, b)
		time.Sleep(time.Second)
		require.Equal(t, breaker.Closed, b.State())
		time.Sleep(1)
		require.Equal(t, breaker.Open, b.State())
	})
}

// An error that was kept says, when asked, that the circuit has closed.
func TestBreaker_rule04_retryAfterOfAClosedCircuitIsZero(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{})
		b.Isolate(time.Minute)
		_, err := b.Allow(t.Context())
		var open *breaker.OpenError
		require.ErrorAs(t, err, &open)
		require.Equal(t, time.Minute, open.RetryAfter())
		time.Sleep(time.Second)
		b.Reset()
		require.Zero(t, open.RetryAfter())
	})
}
