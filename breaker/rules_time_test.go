package breaker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

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
