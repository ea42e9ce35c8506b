package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

var errDown = errors.New("down")

func down(context.Context) error { return errDown }
func up(context.Context) error   { return nil }

// bubble runs a test in virtual time.
func bubble(t *testing.T, f func(t *testing.T)) {
	t.Helper()
	synctest.Test(t, f)
}

func do(b *breaker.Breaker, fn func(context.Context) error) error {
	return b.Do(context.Background(), fn)
}

func times(n int, b *breaker.Breaker, fn func(context.Context) error) {
	for range n {
		_ = do(b, fn)
	}
}

// opened returns a breaker that one failure has just opened.
func opened(t *testing.T, cfg breaker.Config) *breaker.Breaker {
	t.Helper()
	if cfg.ConsecutiveFailures == 0 {
		cfg.ConsecutiveFailures = 1
	}
	b := breaker.New(cfg)
	times(cfg.ConsecutiveFailures, b, down)
	require.Equal(t, breaker.Open, b.State())
	return b
}

// halfOpen returns a breaker that has just become half-open.
func halfOpen(t *testing.T, cfg breaker.Config) *breaker.Breaker {
	t.Helper()
	b := opened(t, cfg)
	time.Sleep(b.Stats().OpenLeft)
	require.Equal(t, breaker.HalfOpen, b.State())
	return b
}

func allow(t *testing.T, b *breaker.Breaker) func(error) {
	t.Helper()
	done, err := b.Allow(context.Background())
	require.NoError(t, err)
	return done
}

type recorder struct {
	mu     sync.Mutex
	events []string
}

func (r *recorder) hook(from, to breaker.State) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.events = append(r.events, fmt.Sprint(from, " -> ", to))
}

func (r *recorder) take() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	events := r.events
	r.events = nil
	return events
}

func TestBreaker_consecutiveFailures(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 3})
	times(2, b, down)
	times(1, b, up)
	times(2, b, down)
	_ = do(b, func(context.Context) error { return thole.ErrRejected }) // ignored: the row stands
	assert.Equal(t, breaker.Closed, b.State())
	assert.Equal(t, 2, b.Stats().ConsecutiveFailures)
	times(1, b, down)
	assert.Equal(t, breaker.Open, b.State())
	ran := false
	err := do(b, func(context.Context) error { ran = true; return nil })
	assert.ErrorIs(t, err, breaker.ErrOpen)
	assert.False(t, ran)
}

func TestBreaker_doReturnsTheErrorAsItIs(t *testing.T) {
	b := breaker.New(breaker.Config{})
	assert.Same(t, errDown, do(b, down))
	assert.NoError(t, do(b, up))
}

func TestBreaker_defaultIsHalfOfTwenty(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{})
		times(19, b, down)
		require.Equal(t, breaker.Closed, b.State())
		times(1, b, up) // the twentieth call, a success: 19/20
		require.Equal(t, breaker.Open, b.State())
		left := b.Stats().OpenLeft
		assert.LessOrEqual(t, left, 5*time.Second)
		assert.GreaterOrEqual(t, left, 4500*time.Millisecond)
	})
}

func TestBreaker_outcomeHook(t *testing.T) {
	var asked atomic.Int32
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1, Outcome: func(_ context.Context, err error) thole.Outcome {
		asked.Add(1)
		if errors.Is(err, errDown) {
			return thole.Success
		}
		return thole.Failure
	}})
	times(5, b, down)
	assert.Equal(t, breaker.Closed, b.State())
	times(1, b, up)
	assert.Equal(t, breaker.Open, b.State())
	assert.EqualValues(t, 6, asked.Load())
}

func TestBreaker_openTimeDoublesAndIsJittered(t *testing.T) {
	bubble(t, func(t *testing.T) {
		distinct := map[time.Duration]bool{}
		for range 20 {
			b := opened(t, breaker.Config{OpenFor: 5 * time.Second, MaxOpenFor: 30 * time.Second})
			for _, full := range []time.Duration{5, 10, 20, 30, 30} {
				full *= time.Second
				left := b.Stats().OpenFor
				assert.LessOrEqual(t, left, full)
				assert.GreaterOrEqual(t, left, full*9/10)
				distinct[left] = true
				time.Sleep(left - 1)
				require.Equal(t, breaker.Open, b.State())
				time.Sleep(1)
				require.Equal(t, breaker.HalfOpen, b.State())
				times(1, b, down)
			}
			// A recovery that holds brings it back.
			time.Sleep(b.Stats().OpenLeft)
			times(1, b, up)
			require.Equal(t, breaker.Closed, b.State())
			times(1, b, down)
			assert.LessOrEqual(t, b.Stats().OpenFor, 5*time.Second)
		}
		assert.Greater(t, len(distinct), 90)
	})
}

func TestBreaker_probeSuccessesInARowClose(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{Probes: 2, ProbeSuccesses: 3})
		times(2, b, up)
		require.Equal(t, breaker.HalfOpen, b.State())
		require.Equal(t, 2, b.Stats().ProbeSuccesses)
		times(1, b, up)
		require.Equal(t, breaker.Closed, b.State())
		require.NoError(t, do(b, up))
	})
}

func TestBreaker_anyProbesFailureReopens(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{Probes: 3})
		first, second := allow(t, b), allow(t, b)
		first(nil)
		second(errDown)
		require.Equal(t, breaker.Open, b.State())
	})
}

func TestBreaker_shadow(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r recorder
		b := breaker.New(breaker.Config{ConsecutiveFailures: 2, Shadow: true, OnStateChange: r.hook})
		times(2, b, down)
		require.Equal(t, breaker.Open, b.State())
		require.NoError(t, do(b, up)) // let through
		times(5, b, down)             // and counted for nothing
		assert.Equal(t, 6, b.Stats().Shadowed)
		assert.Equal(t, 1, b.Stats().Opened)
		time.Sleep(b.Stats().OpenLeft)
		probe := allow(t, b)
		require.ErrorIs(t, do(b, down), errDown) // no probe: let through, changes nothing
		require.Equal(t, breaker.HalfOpen, b.State())
		probe(nil)
		require.Equal(t, breaker.Closed, b.State())
		b.Isolate(0)
		require.NoError(t, do(b, up))
		assert.Equal(t, []string{"closed -> open", "open -> half-open", "half-open -> closed", "closed -> open"}, r.take())
	})
}

func TestBreaker_enterAndLeaveEqualDo(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
		for range 2 {
			assert.Same(t, errDown, thole.Pass(context.Background(), b, down))
		}
		assert.ErrorIs(t, thole.Pass(context.Background(), b, up), breaker.ErrOpen)
		time.Sleep(5 * time.Second)
		assert.NoError(t, thole.Pass(context.Background(), b, up))
		assert.Equal(t, breaker.Closed, b.State())
	})
}

func TestBreaker_inUse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		assert.False(t, b.InUse())
		times(1, b, down)
		assert.True(t, b.InUse())
		time.Sleep(5 * time.Second)
		assert.False(t, b.InUse(), "the open time is over")
		done := allow(t, b)
		assert.True(t, b.InUse(), "a probe is out")
		time.Sleep(5 * time.Second)
		assert.False(t, b.InUse(), "the probe is lost")
		done(nil)
		b.Isolate(0)
		time.Sleep(1000 * time.Hour)
		assert.True(t, b.InUse())
	})
}

func TestBreaker_describe(t *testing.T) {
	assert.Equal(t, "breaker", breaker.New(breaker.Config{}).String())
	b := breaker.New(breaker.Config{Name: "payments", SlowCall: time.Second, RampUp: time.Minute, Shadow: true, ConsecutiveFailures: 5})
	assert.Equal(t, "breaker[payments]", b.String())
	d := b.Describe()
	assert.True(t, d.Blocking)
	assert.Equal(t, 10*time.Second, d.Window)
	assert.Equal(t, []thole.Setting{
		{Key: "ConsecutiveFailures", Value: "5"}, {Key: "MinCalls", Value: "20"}, {Key: "Window", Value: "10s"},
		{Key: "SlowCall", Value: "1s"}, {Key: "SlowRatio", Value: "1"}, {Key: "OpenFor", Value: "5s"},
		{Key: "MaxOpenFor", Value: "1m0s"}, {Key: "Probes", Value: "1"}, {Key: "ProbeSuccesses", Value: "1"},
		{Key: "ProbeTimeout", Value: "5s"}, {Key: "RampUp", Value: "1m0s"}, {Key: "Shadow", Value: "true"},
	}, d.Settings)
	assert.Equal(t, "closed open half-open unknown", fmt.Sprint(breaker.Closed, breaker.Open, breaker.HalfOpen, breaker.State(7)))
}

func TestBreaker_shadowCountsNothingThatTheRampWouldRefuse(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{Shadow: true, RampUp: time.Minute})
		require.NoError(t, do(b, up))
		require.Equal(t, breaker.Closed, b.State())
		times(10, b, down) // at the foot of the ramp, where no call is admitted
		assert.Equal(t, breaker.Closed, b.State())
		assert.Zero(t, b.Stats().ConsecutiveFailures)
	})
}

// Stats told of the calls that the last failure had found, as long as they were enough to keep the
// circuit closed.
func TestBreaker_statsCountsCallsThatNobodyNeededToCount(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{FailureRatio: 0.9, MinCalls: 2})
		times(3, b, up)
		times(1, b, down)
		require.Equal(t, 4, b.Stats().Calls)
		for calls := 4; calls < 40; calls++ {
			times(1, b, up)
			s := b.Stats()
			assert.Equal(t, calls+1, s.Calls)
			assert.Equal(t, 1/float64(calls+1), s.FailureRatio)
		}
	})
}
