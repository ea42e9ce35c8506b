package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

func TestBreaker_rule08_halfOpenAdmitsExactlyProbes(t *testing.T) {
	for _, probes := range []int{1, 3} {
		bubble(t, func(t *testing.T) {
			b := halfOpen(t, breaker.Config{Probes: probes, ProbeTimeout: time.Hour})
			var inside, most, admitted, refused atomic.Int32
			release := make(chan struct{})
			var wg sync.WaitGroup
			for range 1000 {
				wg.Go(func() {
					err := do(b, func(context.Context) error {
						admitted.Add(1)
						if n := inside.Add(1); n > most.Load() {
							most.Store(n)
						}
						<-release
						inside.Add(-1)
						return nil
					})
					if errors.Is(err, breaker.ErrOpen) {
						refused.Add(1)
					}
				})
			}
			time.Sleep(time.Second) // all have come
			assert.EqualValues(t, probes, admitted.Load())
			assert.EqualValues(t, probes, inside.Load())
			assert.EqualValues(t, 1000-probes, refused.Load())
			close(release)
			wg.Wait()
			assert.Equal(t, breaker.Closed, b.State())
		})
	}
}

// The same with real threads and probes that end: never more than Probes are inside.
func TestBreaker_rule08_neverMoreThanProbesWhileTheyComeAndGo(t *testing.T) {
	b := breaker.New(breaker.Config{Probes: 3, ProbeSuccesses: 1 << 30, ProbeTimeout: time.Hour})
	b.Isolate(1)
	require.Eventually(t, func() bool { return b.State() == breaker.HalfOpen }, time.Second, time.Millisecond)
	var inside, admitted atomic.Int32
	var wg sync.WaitGroup
	for w := range 1000 {
		wg.Go(func() {
			for i := range 30 {
				_ = do(b, func(context.Context) error {
					admitted.Add(1)
					if n := inside.Add(1); n > 3 {
						t.Errorf("%d probes inside", n)
					}
					defer inside.Add(-1)
					if (i+w)%2 == 0 {
						return thole.ErrRejected // neutral
					}
					return nil
				})
			}
		})
	}
	wg.Wait()
	s := b.Stats()
	assert.Equal(t, breaker.HalfOpen, s.State)
	assert.Equal(t, 0, s.ProbesOut)
	assert.Positive(t, admitted.Load())
}

func TestBreaker_rule08_hungAndForgottenProbesExpire(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{ProbeTimeout: 2 * time.Second})
		hung := allow(t, b)
		time.Sleep(2*time.Second - 1)
		require.ErrorIs(t, do(b, up), breaker.ErrOpen)
		time.Sleep(1)
		second := allow(t, b)
		hung(errDown) // too late: it changes nothing
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Equal(t, 1, b.Stats().ProbesOut, "the lost probe gave back another's place")
		second(nil)
		require.Equal(t, breaker.Closed, b.State())
	})
}

func TestBreaker_rule08_doneTwiceCountsOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
		done := allow(t, b)
		done(errDown)
		done(errDown)
		assert.Equal(t, 1, b.Stats().ConsecutiveFailures)

		b = halfOpen(t, breaker.Config{Probes: 2})
		done, other := allow(t, b), allow(t, b)
		done(nil)
		done(nil)
		assert.Equal(t, breaker.HalfOpen, b.State())
		assert.Equal(t, 1, b.Stats().ProbesOut)
		other(nil)
		assert.Equal(t, breaker.Closed, b.State())
	})
}

func TestBreaker_rule09_staleResultChangesNothing(t *testing.T) {
	for name, cfg := range map[string]breaker.Config{
		"consecutive":    {ConsecutiveFailures: 2},
		"window":         {MinCalls: 2},
		"last calls":     {MinCalls: 2, WindowCalls: 5},
		"calls too slow": {MinCalls: 2, SlowCall: time.Second, FailureRatio: 0.5},
	} {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := breaker.New(cfg)
				var stale []func(error)
				for range 20 {
					stale = append(stale, allow(t, b))
				}
				settle := func(err error) {
					stale[0](err)
					stale = stale[1:]
				}
				settle(errDown)
				settle(errDown)
				require.Equal(t, breaker.Open, b.State())
				before := b.Stats()
				settle(nil)
				settle(errDown)
				assert.Equal(t, before, b.Stats(), "while open")

				time.Sleep(before.OpenLeft)
				require.Equal(t, breaker.HalfOpen, b.State())
				probe := allow(t, b)
				before = b.Stats()
				settle(nil)
				settle(errDown)
				assert.Equal(t, before, b.Stats(), "while half-open")

				probe(nil)
				require.Equal(t, breaker.Closed, b.State())
				before = b.Stats()
				settle(errDown)
				settle(errDown)
				settle(errDown)
				settle(nil)
				assert.Equal(t, before, b.Stats(), "closed again")
				assert.Equal(t, 0, before.Calls+before.Slow)
			})
		})
	}
}

func TestBreaker_rule10_neutralProbeReturnsItsLease(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		before := b.Stats()
		ctx, cancel := context.WithCancel(context.Background())
		err := b.Do(ctx, func(ctx context.Context) error {
			cancel()
			return fmt.Errorf("call: %w", ctx.Err())
		})
		require.ErrorIs(t, err, context.Canceled)
		assert.Equal(t, before, b.Stats())
		require.ErrorIs(t, do(b, func(context.Context) error { return thole.ErrRejected }), thole.ErrRejected)
		assert.Equal(t, before, b.Stats())
		require.NoError(t, do(b, up))
		assert.Equal(t, breaker.Closed, b.State())
	})
}

func TestBreaker_rule11_innerRejectionsAndOwnCancelNeverTrip(t *testing.T) {
	for name, cfg := range map[string]breaker.Config{
		"consecutive": {ConsecutiveFailures: 1},
		"ratio":       {FailureRatio: 0.01, MinCalls: 1},
		"last calls":  {FailureRatio: 0.01, MinCalls: 1, WindowCalls: 10},
	} {
		t.Run(name, func(t *testing.T) {
			inner := breaker.New(breaker.Config{})
			inner.Isolate(0)
			b := breaker.New(cfg)
			for range 100 {
				require.ErrorIs(t, thole.Chain(b, inner).Do(context.Background(), up), breaker.ErrOpen)
				ctx, cancel := context.WithCancel(context.Background())
				_ = b.Do(ctx, func(ctx context.Context) error { cancel(); return ctx.Err() })
			}
			assert.Equal(t, breaker.Closed, b.State())
			assert.Equal(t, 0, b.Stats().Calls)
			// A callee that cancels, or times out, is another matter.
			_ = do(b, func(context.Context) error { return context.Canceled })
			assert.Equal(t, breaker.Open, b.State())
		})
	}
}

func TestBreaker_rule12_thresholdsAreExact(t *testing.T) {
	for _, window := range []breaker.Config{{}, {WindowCalls: 1000}} {
		for _, row := range []struct {
			ratio           float64
			failures, calls int
			trips           bool
		}{
			{0.5, 99, 200, false}, {0.5, 100, 200, true},
			{0.004, 3, 1000, false}, {0.004, 4, 1000, true},
			{0.1, 2, 30, false}, {0.1, 3, 30, true},
			{1, 199, 200, false}, {1, 200, 200, true},
			{1.0 / 3, 99, 300, false}, {1.0 / 3, 100, 300, true},
		} {
			for _, failuresFirst := range []bool{false, true} {
				t.Run(fmt.Sprintf("%d of %d at %v, failures first %v, last %d", row.failures, row.calls, row.ratio, failuresFirst, window.WindowCalls), func(t *testing.T) {
					b := breaker.New(breaker.Config{FailureRatio: row.ratio, MinCalls: row.calls, WindowCalls: window.WindowCalls})
					if failuresFirst {
						times(row.failures, b, down)
						times(row.calls-row.failures, b, up)
					} else {
						times(row.calls-row.failures, b, up)
						times(row.failures, b, down)
					}
					assert.Equal(t, row.trips, b.State() == breaker.Open)
				})
			}
		}
	}
}

func TestBreaker_rule12_minCalls(t *testing.T) {
	b := breaker.New(breaker.Config{FailureRatio: 0.5})
	times(19, b, down)
	_ = do(b, func(context.Context) error { return thole.ErrRejected }) // ignored: not a call
	assert.Equal(t, breaker.Closed, b.State())
	times(1, b, down)
	assert.Equal(t, breaker.Open, b.State())

	b = breaker.New(breaker.Config{WindowCalls: 5})
	times(5, b, down)
	assert.Equal(t, breaker.Open, b.State(), "MinCalls is not more than WindowCalls")
}

func TestBreaker_rule12_idleWindowIsEmpty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{Window: 10 * time.Second})
		for _, idle := range []time.Duration{10 * time.Second, 20 * time.Second, time.Hour, 100_000 * time.Hour} {
			times(19, b, down)
			require.Equal(t, 19, b.Stats().Failures)
			time.Sleep(idle)
			s := b.Stats()
			assert.Zero(t, s.Calls+s.Failures)
			assert.Zero(t, s.FailureRatio)
			times(1, b, down)
			require.Equal(t, breaker.Closed, b.State(), "after %v", idle)
			time.Sleep(10 * time.Second)
		}
		// And what is younger than the window by more than a part is not forgotten.
		times(19, b, down)
		time.Sleep(9600 * time.Millisecond)
		times(1, b, down)
		require.Equal(t, breaker.Open, b.State())
	})
}

// Two days of rest took a window of a millisecond past half of its lap numbers, and the
// failures after it were counted with a lap long gone.
func TestBreaker_rule12_seesFailuresAfterAnyRest(t *testing.T) {
	for _, rest := range []time.Duration{time.Hour, 40 * time.Hour, 60 * time.Hour, 1000 * time.Hour} {
		bubble(t, func(t *testing.T) {
			b := breaker.New(breaker.Config{Window: time.Millisecond})
			times(1, b, up)
			time.Sleep(rest)
			times(20, b, down)
			assert.Equal(t, breaker.Open, b.State(), "after %v", rest)
		})
	}
}

func TestBreaker_rule12_lastCallsAreExact(t *testing.T) {
	b := breaker.New(breaker.Config{WindowCalls: 10, MinCalls: 10, FailureRatio: 0.5})
	times(4, b, down)
	times(6, b, up) // 4 of 10
	times(6, b, up) // which have gone
	assert.Equal(t, 0, b.Stats().Failures)
	times(4, b, down)
	assert.Equal(t, breaker.Closed, b.State())
	assert.InDelta(t, 0.4, b.Stats().FailureRatio, 1e-12)
	times(1, b, down)
	assert.Equal(t, breaker.Open, b.State())
}
