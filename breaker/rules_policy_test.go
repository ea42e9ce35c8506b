package breaker_test

import (
	"context"
	"math"
	"runtime"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

func TestBreaker_rule01_abortedCallsFreeTheirPlace(t *testing.T) {
	abort := map[string]func(*breaker.Breaker){
		"panic": func(b *breaker.Breaker) {
			assert.PanicsWithValue(t, "boom", func() { _ = do(b, func(context.Context) error { panic("boom") }) })
		},
		"Goexit": func(b *breaker.Breaker) {
			var wg sync.WaitGroup
			wg.Go(func() { _ = do(b, func(context.Context) error { runtime.Goexit(); return nil }) })
			wg.Wait()
		},
		"nil fn": func(b *breaker.Breaker) { assert.Panics(t, func() { _ = do(b, nil) }) },
	}
	for name, abort := range abort {
		t.Run(name, func(t *testing.T) {
			bubble(t, func(t *testing.T) {
				b := breaker.New(breaker.Config{
					ConsecutiveFailures: 2, SlowCall: time.Second,
					// Not even a hook that thinks otherwise can make a panic anything but a failure.
					Outcome: func(context.Context, error) thole.Outcome { return thole.Ignored },
				})
				abort(b)
				assert.Equal(t, 1, b.Stats().Failures)
				time.Sleep(time.Minute)
				assert.Equal(t, 0, b.Stats().Slow, "a place in flight is still taken")
				abort(b)
				require.Equal(t, breaker.Open, b.State())
				time.Sleep(b.Stats().OpenLeft)
				abort(b) // as a probe
				require.Equal(t, breaker.Open, b.State())
				time.Sleep(b.Stats().OpenLeft)
				allow(t, b)
			})
		})
	}
}

func TestBreaker_rule02_nothingIsLeftBehind(t *testing.T) {
	bubble(t, func(t *testing.T) { // which fails on a goroutine left over
		b := breaker.New(breaker.Config{SlowCall: time.Second, MinCalls: 1 << 20})
		// Calls that stay within a few at a time don't make it grow.
		measure := func() uint64 {
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapObjects
		}
		times(100, b, up)
		before := measure()
		for range 10_000 {
			times(1, b, up)
			times(1, b, down)
		}
		assert.InDelta(t, before, measure(), 300)
		b.Reset()
		runtime.KeepAlive(b)
	})
}

func TestBreaker_rule03_hooksMayCallBackAndEventsComeOnceInOrder(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var b *breaker.Breaker
		var r recorder
		depth := 0
		b = breaker.New(breaker.Config{ConsecutiveFailures: 1, OnStateChange: func(from, to breaker.State) {
			depth++
			assert.Equal(t, 1, depth, "told of a change while told of another")
			r.hook(from, to)
			_, _, _ = b.State(), b.Stats(), b.InUse()
			_ = do(b, up)
			if to == breaker.Open && len(r.events) < 8 {
				b.Reset() // brings about another change
				b.Isolate(time.Second)
			}
			depth--
		}})
		times(1, b, down)
		assert.Equal(t, []string{
			"closed -> open", "open -> closed", "closed -> open", "open -> closed", "closed -> open",
			"open -> closed", "closed -> open", "open -> closed", "closed -> open",
		}, r.take())
	})
}

func TestBreaker_rule03_eventsAreAChainUnderConcurrency(t *testing.T) {
	var mu sync.Mutex
	last, events := breaker.Closed, 0
	b := breaker.New(breaker.Config{ConsecutiveFailures: 2, OpenFor: time.Microsecond, MaxOpenFor: time.Microsecond,
		OnStateChange: func(from, to breaker.State) {
			if !mu.TryLock() {
				t.Error("told of two changes at a time")
				return
			}
			defer mu.Unlock()
			if from != last || from == to {
				t.Errorf("told of %v -> %v after %v", from, to, last)
			}
			last = to
			events++
		}})
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 3000 {
				fn := up
				if (i+w)%3 > 0 {
					fn = down
				}
				_ = do(b, fn)
				switch {
				case i%500 == 0:
					b.Isolate(time.Microsecond)
				case i%501 == 0:
					b.Reset()
				}
			}
		})
	}
	wg.Wait()
	b.Reset()
	assert.Equal(t, breaker.Closed, last)
	assert.Greater(t, events, 10)
}

func TestBreaker_rule03_aPanicInAHookLeavesItUsable(t *testing.T) {
	bubble(t, func(t *testing.T) {
		var r recorder
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1, OnStateChange: func(from, to breaker.State) {
			r.hook(from, to)
			panic("hook")
		}})
		assert.PanicsWithValue(t, "hook", func() { times(1, b, down) })
		time.Sleep(5 * time.Second)
		// The probe that finds the open time over panics too, and gives its place back.
		assert.PanicsWithValue(t, "hook", func() { times(1, b, up) })
		assert.Equal(t, 0, b.Stats().ProbesOut)
		assert.PanicsWithValue(t, "hook", func() { times(1, b, up) })
		assert.Equal(t, []string{"closed -> open", "open -> half-open", "half-open -> closed"}, r.take())
		assert.NoError(t, do(b, up))
	})
}

func TestBreaker_aPanicInOutcomeFreesTheProbe(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := opened(t, breaker.Config{})
		require.NoError(t, b.Reconfigure(breaker.Config{Outcome: func(context.Context, error) thole.Outcome { panic("hook") }}))
		time.Sleep(5 * time.Second)
		assert.PanicsWithValue(t, "hook", func() { times(1, b, up) })
		assert.Equal(t, breaker.HalfOpen, b.State())
		assert.Equal(t, 0, b.Stats().ProbesOut)
	})
}

func TestBreaker_rule04_oneInstanceInTwoChains(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
	one, other := thole.Chain(b), thole.Chain(thole.Chain(b))
	_ = one.Do(context.Background(), down)
	_ = other.Do(context.Background(), down)
	_, err := thole.Do(context.Background(), one, func(context.Context) (int, error) { return 1, nil })
	assert.ErrorIs(t, err, breaker.ErrOpen)
}

func TestBreaker_rule05_invalidConfigsAreRefused(t *testing.T) {
	forever := time.Duration(math.MaxInt64)
	for field, cfg := range map[string]breaker.Config{
		"ConsecutiveFailures": {ConsecutiveFailures: -1},
		"FailureRatio":        {FailureRatio: math.NaN()},
		"FailureRatio ":       {FailureRatio: 1.01},
		"FailureRatio  ":      {FailureRatio: math.Inf(1)},
		"MinCalls":            {MinCalls: -1},
		"MinCalls ":           {MinCalls: 11, WindowCalls: 10},
		"Window":              {Window: -1},
		"Window ":             {Window: 10}, // ten nanoseconds: a forgotten unit
		"Window  ":            {Window: forever},
		"WindowCalls":         {WindowCalls: math.MaxInt},
		"WindowCalls ":        {WindowCalls: 10, Window: time.Second},
		"SlowCall":            {SlowCall: forever},
		"SlowRatio":           {SlowRatio: 0.5},
		"SlowRatio ":          {SlowRatio: -0.5, SlowCall: 1},
		"OpenFor":             {OpenFor: -time.Second},
		"OpenFor ":            {OpenFor: forever},
		"MaxOpenFor":          {OpenFor: time.Minute, MaxOpenFor: time.Second},
		"MaxOpenFor ":         {MaxOpenFor: forever},
		"MaxOpenFor  ":        {OpenFor: 2, MaxOpenFor: 1},
		"Probes":              {Probes: -1},
		"ProbeSuccesses":      {ProbeSuccesses: -1},
		"ProbeTimeout":        {ProbeTimeout: -1},
		"RampUp":              {RampUp: forever},
	} {
		t.Run(field, func(t *testing.T) {
			err := cfg.Validate()
			require.Error(t, err)
			name := field
			for name[len(name)-1] == ' ' {
				name = name[:len(name)-1]
			}
			assert.Regexp(t, `^breaker: `+name+` is \S+: want .`, err.Error())
			assert.PanicsWithValue(t, err.Error(), func() { breaker.New(cfg) })
			b := breaker.New(breaker.Config{Name: "old"})
			assert.EqualError(t, b.Reconfigure(cfg), err.Error())
			assert.Equal(t, "breaker[old]", b.String())
		})
	}
	assert.NoError(t, breaker.Config{}.Validate())
}

func TestBreaker_rule06_doneContextTakesNothing(t *testing.T) {
	bubble(t, func(t *testing.T) {
		b := halfOpen(t, breaker.Config{})
		ctx, cancel := context.WithCancelCause(context.Background())
		cancel(errDown)
		err := b.Do(ctx, func(context.Context) error { panic("ran") })
		assert.Same(t, context.Canceled, err)
		_, err = b.Allow(ctx)
		assert.Same(t, context.Canceled, err)
		assert.Equal(t, 0, b.Stats().ProbesOut)
		allow(t, b)
	})
}

func TestBreaker_rule07_timeIsTheInstancesOwn(t *testing.T) {
	outside := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	times(1, outside, down)
	bubble(t, func(t *testing.T) { // where the clock stands at the year 2000
		b := opened(t, breaker.Config{})
		left := b.Stats().OpenLeft
		assert.Positive(t, left)
		assert.LessOrEqual(t, left, 5*time.Second)
		time.Sleep(left)
		assert.Equal(t, breaker.HalfOpen, b.State())
	})
	assert.Equal(t, breaker.Open, outside.State())
}

// A breaker in a package variable, used in a bubble, whose clock is decades behind: its window
// forgot each call at once, slow calls in flight were not seen, the open time was doubled as
// in a ramp, and Stats told of an admitted share of minus infinity.
func TestBreaker_rule07_madeOutsideTheBubbleItIsUsedIn(t *testing.T) {
	ratio := breaker.New(breaker.Config{})
	row := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	slow := breaker.New(breaker.Config{SlowCall: time.Second, MinCalls: 1})
	bubble(t, func(t *testing.T) {
		assert.EqualValues(t, 1, ratio.Stats().AdmittedShare)
		times(20, ratio, down)
		assert.Equal(t, breaker.Open, ratio.State())

		times(1, row, down)
		assert.LessOrEqual(t, row.Stats().OpenLeft, 5*time.Second)
		time.Sleep(5 * time.Second)
		assert.NoError(t, do(row, up))
		assert.Equal(t, breaker.Closed, row.State())

		allow(t, slow)
		time.Sleep(time.Second + 1)
		assert.Equal(t, breaker.Open, slow.State())
	})
}
