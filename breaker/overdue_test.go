package breaker_test

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/breaker"
)

// Where the open time is over and nobody has looked, Reset and Isolate tell of the half-open
// state that they end.
func TestBreaker_rule16_resetAndIsolateTellOfAnOpenTimeThatIsOver(t *testing.T) {
	for name, do := range map[string]func(*breaker.Breaker){
		"closed": (*breaker.Breaker).Reset,
		"open":   func(b *breaker.Breaker) { b.Isolate(time.Hour) },
	} {
		synctest.Test(t, func(t *testing.T) {
			var told []string
			b := breaker.New(breaker.Config{OnStateChange: func(from, to breaker.State) {
				told = append(told, fmt.Sprint(from, " to ", to))
			}})
			b.Isolate(time.Second)
			time.Sleep(2 * time.Second)
			do(b)
			require.Equal(t, []string{"closed to open", "open to half-open", "half-open to " + name}, told)
		})
	}
}

// Where calls hang, whoever asks finds the circuit open, though it was Reconfigure that found them slow.
func TestBreaker_rule14_reconfigureHidesNoHang(t *testing.T) {
	for name, to := range map[string]breaker.Config{
		"nothing changed":  {SlowCall: 10 * time.Second, MinCalls: 3},
		"shorter SlowCall": {SlowCall: time.Second, MinCalls: 3},
		"last calls":       {SlowCall: time.Second, MinCalls: 3, WindowCalls: 10},
	} {
		bubble(t, func(t *testing.T) {
			b := breaker.New(breaker.Config{SlowCall: 10 * time.Second, MinCalls: 3})
			for range 3 {
				allow(t, b)
			}
			time.Sleep(11 * time.Second)
			require.NoError(t, b.Reconfigure(to))
			require.Equal(t, breaker.Open, b.State(), name)
		})
	}
}

// Where a call hangs, Stats finds the circuit open or leaves that to the next who asks: also where
// the call becomes slow while Stats is under way.
func TestBreaker_rule14_statsHideNoHang(t *testing.T) {
	for range 100 {
		b := breaker.New(breaker.Config{SlowCall: 200 * time.Microsecond, MinCalls: 1})
		allow(t, b)
		for began := time.Now(); time.Since(began) < time.Millisecond; {
			b.Stats()
		}
		require.Equal(t, breaker.Open, b.State())
	}
}

// A recovery that has lasted is no failed one: after an isolation the open time begins with OpenFor
// and doubles once.
func TestBreaker_rule15_recoveriesThatFailedBeforeOneThatLastedAreForgotten(t *testing.T) {
	for _, rampUp := range []time.Duration{0, time.Second} {
		bubble(t, func(t *testing.T) {
			b := breaker.New(breaker.Config{ConsecutiveFailures: 1, OpenFor: 10 * time.Second, MaxOpenFor: time.Hour, RampUp: rampUp})
			for range 4 {
				times(1, b, down)
				time.Sleep(b.Stats().OpenLeft)
			}
			times(1, b, up)
			require.Equal(t, breaker.Closed, b.State())
			time.Sleep(2 * time.Second) // the ramp is over
			b.Isolate(time.Second)
			time.Sleep(time.Second)
			times(1, b, down)
			require.LessOrEqual(t, b.Stats().OpenFor, 20*time.Second, "RampUp %v", rampUp)
			require.Greater(t, b.Stats().OpenFor, 17*time.Second)
		})
	}
}

// Who turns the slow-call rule off sees no slow calls any more, over whichever window.
func TestBreaker_reconfigureWithoutSlowCallCountsNoneSlow(t *testing.T) {
	for _, calls := range []int{0, 10} {
		bubble(t, func(t *testing.T) {
			b := breaker.New(breaker.Config{WindowCalls: calls, SlowCall: time.Second})
			done := allow(t, b)
			time.Sleep(2 * time.Second)
			done(nil)
			require.Equal(t, 1, b.Stats().Slow)
			require.NoError(t, b.Reconfigure(breaker.Config{WindowCalls: calls}))
			require.Zero(t, b.Stats().Slow)
			require.Zero(t, b.Stats().SlowRatio)
		})
	}
}
