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

func TestBreaker_rule13_theOpenError(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := opened(t, breaker.Config{Name: "payments", OpenFor: 4 * time.Second})
		err := do(b, up)
		assert.EqualError(t, err, "breaker[payments]: open")
		assert.ErrorIs(t, err, breaker.ErrOpen)
		assert.ErrorIs(t, err, thole.ErrRejected)
		assert.NotErrorIs(t, err, context.Canceled)
		var open *breaker.OpenError
		require.ErrorAs(t, err, &open)
		assert.Equal(t, "payments", open.Name)
		reason, _ := thole.ReasonOf(err)
		assert.Equal(t, thole.ReasonOpen, reason)

		// The time left when asked, always more than 0 while open and never more than OpenFor.
		left, ok := thole.RetryAfter(err)
		assert.True(t, ok)
		assert.Equal(t, b.Stats().OpenLeft, left)
		assert.LessOrEqual(t, left, 4*time.Second)
		time.Sleep(time.Second)
		now, _ := thole.RetryAfter(err)
		assert.Equal(t, left-time.Second, now)
		time.Sleep(now - 1)
		require.Equal(t, breaker.Open, b.State())
		assert.EqualValues(t, 1, open.RetryAfter())
		time.Sleep(1)
		require.Equal(t, breaker.HalfOpen, b.State())
		assert.Zero(t, open.RetryAfter(), "a probe may go")

		// Half-open with its probe out: when that may be given up, at the latest.
		done := allow(t, b)
		assert.Equal(t, b.Stats().OpenFor, open.RetryAfter())
		time.Sleep(3 * time.Second)
		assert.Equal(t, time.Second, open.RetryAfter())
		done(nil)
		assert.Zero(t, open.RetryAfter())

		assert.ErrorIs(t, breaker.ErrOpen, thole.ErrRejected)
		assert.Zero(t, (&breaker.OpenError{Name: "x"}).RetryAfter())
		assert.EqualError(t, do(opened(t, breaker.Config{}), up), "breaker: open")
	})
}

func TestBreaker_rule14_hangingCallsTripBeforeTheyReturn(t *testing.T) {
	for name, cfg := range map[string]breaker.Config{
		"window":     {SlowCall: time.Second},
		"last calls": {SlowCall: time.Second, WindowCalls: 50},
		"half slow":  {SlowCall: time.Second, SlowRatio: 0.5, MinCalls: 40},
	} {
		t.Run(name, func(t *testing.T) {
			for _, look := range []string{"State", "Do", "Stats"} {
				bubble(t, func(t *testing.T) {
					var r recorder
					cfg.OnStateChange = r.hook
					b := breaker.New(cfg)
					release := make(chan struct{})
					var wg sync.WaitGroup
					if cfg.MinCalls > 0 {
						times(20, b, up)
					}
					for range 100 { // also more than there are places at first
						wg.Go(func() { _ = do(b, func(context.Context) error { <-release; return nil }) })
					}
					time.Sleep(time.Second)
					require.Equal(t, breaker.Closed, b.State())
					time.Sleep(time.Millisecond)
					switch look {
					case "State":
						assert.Equal(t, breaker.Open, b.State())
					case "Stats":
						assert.Equal(t, breaker.Open, b.Stats().State)
					}
					assert.ErrorIs(t, do(b, up), breaker.ErrOpen)
					assert.Equal(t, []string{"closed -> open"}, r.take())
					close(release)
					wg.Wait()
					assert.Equal(t, 1, b.Stats().Opened)
				})
			}
		})
	}
}

func TestBreaker_rule14_slowCallsCountOnce(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{SlowCall: time.Second, MinCalls: 1000})
		done := allow(t, b)
		fast := allow(t, b)
		fast(nil)
		time.Sleep(time.Second)
		assert.Equal(t, 0, b.Stats().Slow)
		time.Sleep(time.Millisecond)
		s := b.Stats()
		assert.Equal(t, 1, s.Slow, "in flight")
		assert.Equal(t, 1, s.Calls)
		assert.InDelta(t, 0.5, s.SlowRatio, 1e-12)
		done(nil)
		s = b.Stats()
		assert.Equal(t, 1, s.Slow, "settled")
		assert.Equal(t, 2, s.Calls)
		assert.InDelta(t, 0.5, s.SlowRatio, 1e-12)
		cancelled := allow(t, b)
		time.Sleep(2 * time.Second)
		assert.Equal(t, 2, b.Stats().Slow)
		cancelled(thole.ErrRejected)
		assert.Equal(t, 1, b.Stats().Slow, "an ignored call is none")
	})
}

func TestBreaker_rule14_aSlowProbeFails(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{SlowCall: time.Second})
		_ = do(b, func(context.Context) error { time.Sleep(1001 * time.Millisecond); return nil })
		assert.Equal(t, breaker.Open, b.State())
	})
}

func TestBreaker_rule15_admittedShareRises(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{RampUp: 10 * time.Second})
		require.NoError(t, do(b, up))
		require.Equal(t, breaker.Closed, b.State())
		last := -1
		for second := range 10 {
			admitted := 0
			for range 1000 {
				if err := do(b, up); err == nil {
					admitted++
				} else {
					require.ErrorIs(t, err, breaker.ErrOpen)
					after, _ := thole.RetryAfter(err)
					require.Positive(t, after)
					require.LessOrEqual(t, after, time.Second)
				}
				time.Sleep(time.Millisecond)
			}
			assert.Greater(t, admitted, last, "second %d", second)
			assert.InDelta(t, 1000*(float64(second)+0.5)/10, admitted, 5)
			last = admitted
		}
		require.InDelta(t, 1, b.Stats().AdmittedShare, 1e-9)
		for range 1000 {
			require.NoError(t, do(b, up))
		}
	})
}

func TestBreaker_rule15_aBurstInTheRampReopensForLonger(t *testing.T) {
	bubble(t, func(t *testing.T) {
		cfg := breaker.Config{ConsecutiveFailures: 3, OpenFor: 5 * time.Second, RampUp: 10 * time.Second}
		b := halfOpen(t, cfg)
		first := b.Stats().OpenFor
		require.NoError(t, do(b, up))
		time.Sleep(5 * time.Second)
		times(20, b, down)
		require.Equal(t, breaker.Open, b.State())
		second := b.Stats().OpenFor
		assert.Greater(t, second, first)
		assert.GreaterOrEqual(t, second, 9*time.Second)

		time.Sleep(b.Stats().OpenLeft)
		require.NoError(t, do(b, up))
		time.Sleep(5 * time.Second)
		times(20, b, down)
		assert.GreaterOrEqual(t, b.Stats().OpenFor, 18*time.Second)

		// After a ramp that held it begins from the start.
		time.Sleep(b.Stats().OpenLeft)
		require.NoError(t, do(b, up))
		time.Sleep(10 * time.Second)
		times(3, b, down)
		require.Equal(t, breaker.Open, b.State())
		assert.LessOrEqual(t, b.Stats().OpenFor, 5*time.Second)
	})
}

func TestBreaker_rule16_isolateRejectsWhateverHappensThenResumes(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r recorder
		b := breaker.New(breaker.Config{Name: "db", ConsecutiveFailures: 1, OnStateChange: r.hook})
		before := allow(t, b)
		b.Isolate(time.Minute)
		assert.Equal(t, []string{"closed -> open"}, r.take())
		before(nil)
		for range 60 {
			err := do(b, up)
			require.ErrorIs(t, err, breaker.ErrOpen)
			require.EqualError(t, err, "breaker[db]: isolated")
			reason, _ := thole.ReasonOf(err)
			require.Equal(t, thole.ReasonIsolated, reason)
			after, _ := thole.RetryAfter(err)
			require.Equal(t, b.Stats().OpenLeft, after)
			require.True(t, b.Stats().Isolated)
			time.Sleep(time.Second)
		}
		require.Equal(t, breaker.HalfOpen, b.State())
		require.NoError(t, do(b, up))
		require.Equal(t, breaker.Closed, b.State())
		assert.Equal(t, []string{"open -> half-open", "half-open -> closed"}, r.take())

		// Until Reset, and over an open circuit as well.
		times(1, b, down)
		b.Isolate(0)
		assert.Equal(t, []string{"closed -> open"}, r.take())
		time.Sleep(10_000 * time.Hour)
		err := do(b, up)
		require.ErrorIs(t, err, breaker.ErrOpen)
		after, _ := thole.RetryAfter(err)
		assert.Equal(t, time.Minute, after)
		b.Isolate(time.Duration(1<<63 - 1)) // no overflow
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestBreaker_rule16_resetClosesWithCleanCounts(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r recorder
		b := breaker.New(breaker.Config{ConsecutiveFailures: 3, FailureRatio: 0.9, OnStateChange: r.hook})
		times(2, b, down)
		b.Reset()
		assert.Empty(t, r.take(), "it was closed")
		assert.Zero(t, b.Stats().ConsecutiveFailures+b.Stats().Failures)
		times(3, b, down)
		b.Reset()
		b.Isolate(-1)
		b.Reset()
		assert.Equal(t, []string{"closed -> open", "open -> closed", "closed -> open", "open -> closed"}, r.take())
		s := b.Stats()
		assert.Zero(t, s.Calls+s.Failures+s.ConsecutiveFailures)
		assert.NoError(t, do(b, up))
	})
}
