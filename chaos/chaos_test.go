package chaos_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

func nop(context.Context) error { return nil }

// enabled returns a Chaos that is on.
func enabled(cfg chaos.Config) *chaos.Chaos {
	c := chaos.New(cfg)
	c.Enable(0)
	return c
}

// try makes n calls and returns what each came to, one letter a call.
func try(t *testing.T, c *chaos.Chaos, ctx context.Context, n int) string {
	t.Helper()
	var s []byte
	for range n {
		s = append(s, letter(t, c, ctx))
	}
	return string(s)
}

func letter(t *testing.T, c *chaos.Chaos, ctx context.Context) (l byte) {
	t.Helper()
	ran := false
	defer func() {
		if r := recover(); r != nil {
			require.ErrorIs(t, r.(error), chaos.ErrInjected)
			require.False(t, ran)
			l = 'p'
		}
	}()
	err := c.Do(ctx, func(context.Context) error { ran = true; return nil })
	switch {
	case err == nil:
		require.True(t, ran)
		return '.'
	case errors.Is(err, thole.ErrRejected):
		l = 'r'
	default:
		l = 'e'
	}
	require.False(t, ran)
	require.ErrorIs(t, err, chaos.ErrInjected)
	reason, ok := thole.ReasonOf(err)
	require.True(t, ok)
	require.Equal(t, thole.ReasonChaos, reason)
	return l
}

func TestChaos_injectsNothingUntilEnabled(t *testing.T) {
	all := chaos.Config{Faults: chaos.Faults{RejectRatio: 1}}
	c := chaos.New(all)
	assert.False(t, c.Enabled())
	assert.Equal(t, "....", try(t, c, t.Context(), 4))

	require.NoError(t, c.Reconfigure(all), "no configuration switches it on")
	assert.Equal(t, "....", try(t, c, t.Context(), 4))
	assert.Equal(t, chaos.Stats{}, c.Stats())

	c.Enable(0)
	assert.Equal(t, "rrrr", try(t, c, t.Context(), 4))
	require.NoError(t, c.Reconfigure(all), "nor off")
	assert.Equal(t, "rrrr", try(t, c, t.Context(), 4))
	c.Disable()
	assert.Equal(t, "....", try(t, c, t.Context(), 4))
	assert.Equal(t, chaos.Stats{Calls: 8, Rejected: 8}, c.Stats())
}

func TestChaos_zeroConfigInjectsNothingEvenWhenEnabled(t *testing.T) {
	c := enabled(chaos.Config{})
	for range 1000 {
		require.Equal(t, byte('.'), letter(t, c, t.Context()))
	}
	assert.Equal(t, chaos.Stats{Enabled: true, Calls: 1000}, c.Stats())
}

func TestChaos_enableEndsByItself(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := chaos.New(chaos.Config{Faults: chaos.Faults{RejectRatio: 1}})
		c.Enable(time.Minute)
		time.Sleep(time.Minute - 1)
		assert.Equal(t, "r", try(t, c, t.Context(), 1))
		assert.Equal(t, time.Duration(1), c.Stats().Left)
		assert.True(t, c.InUse())
		time.Sleep(time.Nanosecond)
		assert.False(t, c.Enabled())
		assert.False(t, c.InUse())
		assert.Equal(t, ".", try(t, c, t.Context(), 1))
		assert.Equal(t, time.Duration(0), c.Stats().Left)

		c.Enable(math.MaxInt64) // no overflow
		assert.True(t, c.Enabled())
		c.Enable(time.Second) // anew
		time.Sleep(time.Second)
		assert.False(t, c.Enabled())
	})
}

func TestChaos_ratiosHold(t *testing.T) {
	const n = 20_000
	synctest.Test(t, func(t *testing.T) {
		c := enabled(chaos.Config{Seed: 7, Faults: chaos.Faults{
			RejectRatio: 0.1, ErrorRatio: 0.2, PanicRatio: 0.05, DelayRatio: 0.3,
			Delay: time.Second, MaxDelay: 3 * time.Second,
		}})
		start := time.Now()
		fates := try(t, c, t.Context(), n)
		counts := map[rune]float64{}
		for _, l := range fates {
			counts[l]++
		}
		const slack = 0.01 // more than three standard deviations
		assert.InDelta(t, 0.1, counts['r']/n, slack)
		assert.InDelta(t, 0.2, counts['e']/n, slack)
		assert.InDelta(t, 0.05, counts['p']/n, slack)
		s := c.Stats()
		assert.InDelta(t, 0.3, float64(s.Delayed)/n, slack)
		assert.InDelta(t, 2, time.Since(start).Seconds()/float64(s.Delayed), 0.03, "delays are spread evenly")
		assert.Equal(t, n, s.Calls)
		assert.EqualValues(t, counts['r'], s.Rejected)
		assert.EqualValues(t, counts['e'], s.Errors)
		assert.EqualValues(t, counts['p'], s.Panics)
	})
}

func TestChaos_allOfARatioOfOne(t *testing.T) {
	for want, faults := range map[byte]chaos.Faults{
		'r': {RejectRatio: 1}, 'e': {ErrorRatio: 1}, 'p': {PanicRatio: 1},
	} {
		c := enabled(chaos.Config{Faults: faults})
		for range 1000 {
			require.Equal(t, want, letter(t, c, t.Context()))
		}
	}
}

func TestChaos_seedMakesItTheSameAgain(t *testing.T) {
	faults := chaos.Faults{RejectRatio: 0.2, ErrorRatio: 0.2, PanicRatio: 0.2}
	run := func(seed uint64) string {
		return try(t, enabled(chaos.Config{Seed: seed, Faults: faults}), t.Context(), 200)
	}
	assert.Equal(t, run(1), run(1))
	assert.NotEqual(t, run(1), run(2))
	assert.NotEqual(t, run(0), run(0), "0 is a seed chosen at random")
}

func TestChaos_randomSeedIsToldAndKept(t *testing.T) {
	faults := chaos.Faults{RejectRatio: 0.5}
	c := enabled(chaos.Config{Faults: faults})
	first := setting(t, c, "Seed")
	require.NoError(t, c.Reconfigure(chaos.Config{Faults: faults}))
	assert.Equal(t, first, setting(t, c, "Seed"))
	var seed uint64
	_, err := fmt.Sscan(first, &seed)
	require.NoError(t, err)
	again := enabled(chaos.Config{Seed: seed, Faults: faults})
	assert.Equal(t, try(t, c, t.Context(), 200), try(t, again, t.Context(), 200))
}

func setting(t *testing.T, c *chaos.Chaos, key string) string {
	t.Helper()
	for _, s := range c.Describe().Settings {
		if s.Key == key {
			return s.Value
		}
	}
	require.Fail(t, "no such setting", key)
	return ""
}

// A Reconfigure does not begin the sequence anew.
func TestChaos_reconfigureKeepsTheCallsNumbers(t *testing.T) {
	cfg := chaos.Config{Seed: 3, Faults: chaos.Faults{RejectRatio: 0.5}}
	whole := try(t, enabled(cfg), t.Context(), 100)
	c := enabled(cfg)
	halves := try(t, c, t.Context(), 50)
	require.NoError(t, c.Reconfigure(cfg))
	assert.Equal(t, whole, halves+try(t, c, t.Context(), 50))
}

func TestChaos_keysHaveFaultsAndSequencesOfTheirOwn(t *testing.T) {
	cfg := chaos.Config{
		Seed:   5,
		Faults: chaos.Faults{ErrorRatio: 1},
		Key:    thole.TargetFrom,
		Keys: map[string]chaos.Faults{
			"a": {RejectRatio: 0.5},
			"b": {RejectRatio: 0.5},
			"c": {},
		},
	}
	ctx := func(target string) context.Context { return thole.WithTarget(t.Context(), target) }
	alone := enabled(cfg)
	a, b := try(t, alone, ctx("a"), 100), try(t, alone, ctx("b"), 100)
	assert.NotEqual(t, a, b)
	assert.Equal(t, "....", try(t, alone, ctx("c"), 4))
	assert.Equal(t, "eeee", try(t, alone, ctx("other"), 4))
	assert.Equal(t, "eeee", try(t, alone, t.Context(), 4))

	mixed := enabled(cfg)
	var a2, b2 []byte
	for range 100 {
		a2 = append(a2, letter(t, mixed, ctx("a")))
		letter(t, mixed, ctx("other"))
		b2 = append(b2, letter(t, mixed, ctx("b")))
	}
	assert.Equal(t, a, string(a2), "what happens to a does not depend on others")
	assert.Equal(t, b, string(b2))

	err := enabled(chaos.Config{Name: "n", Key: thole.TargetFrom, Keys: map[string]chaos.Faults{"a": {ErrorRatio: 1}}}).Do(ctx("a"), nop)
	assert.EqualError(t, err, "chaos[n]: injected error for a")
}

func TestChaos_configurationIsCopied(t *testing.T) {
	keys := map[string]chaos.Faults{"": {RejectRatio: 1}}
	c := enabled(chaos.Config{Key: thole.TargetFrom, Keys: keys})
	keys[""] = chaos.Faults{}
	assert.Equal(t, "rrr", try(t, c, t.Context(), 3))
	assert.Equal(t, "1", setting(t, c, `Keys[""].RejectRatio`))
}

func TestChaos_errors(t *testing.T) {
	boom := errors.New("boom")
	err := enabled(chaos.Config{Name: "pay", Faults: chaos.Faults{ErrorRatio: 1, Err: boom}}).Do(t.Context(), nop)
	assert.EqualError(t, err, "chaos[pay]: injected error: boom")
	assert.ErrorIs(t, err, boom)
	assert.ErrorIs(t, err, chaos.ErrInjected)
	assert.NotErrorIs(t, err, thole.ErrRejected)
	assert.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))
	var e *chaos.Error
	require.ErrorAs(t, err, &e)
	assert.Equal(t, "pay", e.Name)

	err = enabled(chaos.Config{Faults: chaos.Faults{RejectRatio: 1, Err: boom}}).Do(t.Context(), nop)
	assert.EqualError(t, err, "chaos: injected rejection")
	assert.ErrorIs(t, err, thole.ErrRejected)
	assert.NotErrorIs(t, err, boom)
	assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), err))

	assert.PanicsWithError(t, "chaos: injected panic", func() {
		_ = enabled(chaos.Config{Faults: chaos.Faults{PanicRatio: 1}}).Do(t.Context(), nop)
	})
}

func TestChaos_delayThenRun(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := enabled(chaos.Config{Faults: chaos.Faults{DelayRatio: 1, Delay: time.Second}})
		start := time.Now()
		assert.NoError(t, c.Do(t.Context(), nop))
		assert.Equal(t, time.Second, time.Since(start))
		both := enabled(chaos.Config{Faults: chaos.Faults{DelayRatio: 1, Delay: time.Second, ErrorRatio: 1}})
		assert.ErrorIs(t, both.Do(t.Context(), nop), chaos.ErrInjected)
		assert.Equal(t, 2*time.Second, time.Since(start))
	})
}

func TestChaos_doneContextRunsAndCountsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	c := enabled(chaos.Config{Faults: chaos.Faults{PanicRatio: 1}})
	assert.Equal(t, context.Canceled, c.Do(ctx, nop))
	assert.Equal(t, 0, c.Stats().Calls)
	c.Disable()
	assert.Equal(t, context.Canceled, c.Do(ctx, func(context.Context) error { panic("ran") }))
}

// A panic or Goexit of fn leaves as it came, and nothing behind.
func TestChaos_rule01_panicAndGoexitPassThrough(t *testing.T) {
	c := enabled(chaos.Config{})
	assert.PanicsWithValue(t, "boom", func() {
		_ = c.Do(t.Context(), func(context.Context) error { panic("boom") })
	})
	var wg sync.WaitGroup
	returned := false
	wg.Go(func() {
		_ = c.Do(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
		returned = true
	})
	wg.Wait()
	assert.False(t, returned)
	assert.Equal(t, "...", try(t, c, t.Context(), 3))
}

func TestChaos_rule02_nothingIsLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine left over fails the bubble
		parent, cancel := context.WithCancel(context.Background())
		defer cancel()
		c := enabled(chaos.Config{Faults: chaos.Faults{DelayRatio: 0.5, Delay: time.Hour, ErrorRatio: 0.3}})
		heap := func() int {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapObjects)
		}
		run := func() {
			ctx, cancel := context.WithTimeout(parent, time.Second)
			defer cancel()
			_ = c.Do(ctx, nop)
		}
		run()
		before := heap()
		for range 2000 {
			run()
		}
		assert.Less(t, heap()-before, 500)
	})
}

// Chaos has one thing that calls back: Key. It may use the policy.
func TestChaos_rule03_keyMayUseThePolicy(t *testing.T) {
	var c *chaos.Chaos
	cfg := chaos.Config{Key: func(context.Context) string {
		_ = c.Stats()
		c.Disable()
		c.Enable(0)
		return c.String()
	}}
	c = enabled(cfg)
	assert.Equal(t, "..", try(t, c, t.Context(), 2))
}

func TestChaos_rule04_oneInstanceInManyCalls(t *testing.T) {
	const calls = 4000
	c := enabled(chaos.Config{Seed: 9, Faults: chaos.Faults{ErrorRatio: 0.5}})
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range calls / 8 {
				if i%100 == 0 {
					assert.NoError(t, c.Reconfigure(chaos.Config{Seed: 9, Faults: chaos.Faults{ErrorRatio: 0.5}}))
				}
				_ = c.Do(t.Context(), nop)
			}
		})
	}
	wg.Wait()
	alone := enabled(chaos.Config{Seed: 9, Faults: chaos.Faults{ErrorRatio: 0.5}})
	try(t, alone, t.Context(), calls)
	assert.Equal(t, alone.Stats(), c.Stats(), "side by side or in turn, the same fates are dealt")
}

func TestChaos_rule05_badConfigIsRefused(t *testing.T) {
	for name, row := range map[string]struct {
		cfg  chaos.Config
		want string
	}{
		"NaN":      {chaos.Config{Faults: chaos.Faults{ErrorRatio: math.NaN()}}, "chaos: Faults.ErrorRatio is NaN: want 0 (none) to 1"},
		"negative": {chaos.Config{Faults: chaos.Faults{RejectRatio: -0.1}}, "chaos: Faults.RejectRatio is -0.1: want 0 (none) to 1"},
		"more":     {chaos.Config{Faults: chaos.Faults{DelayRatio: 1.5, Delay: 1}}, "chaos: Faults.DelayRatio is 1.5: want 0 (none) to 1"},
		"sum":      {chaos.Config{Faults: chaos.Faults{ErrorRatio: 0.75, PanicRatio: 0.5}}, "ErrorRatio + PanicRatio is 1.25: want at most 1: one call suffers one of them"},
		"no delay": {chaos.Config{Faults: chaos.Faults{DelayRatio: 1}}, "chaos: Faults.Delay is 0s: want more than 0, because DelayRatio is set"},
		"shrunk":   {chaos.Config{Faults: chaos.Faults{Delay: 2, MaxDelay: 1}}, "chaos: Faults.MaxDelay is 1ns: want 0 (all delays are Delay), or Delay to 876000 h"},
		"no key":   {chaos.Config{Keys: map[string]chaos.Faults{"a": {}}}, "chaos: Key is nil: want a function, because Keys is set"},
		"of a key": {chaos.Config{Key: thole.TargetFrom, Keys: map[string]chaos.Faults{"a": {PanicRatio: 2}}},
			`chaos: Keys["a"].PanicRatio is 2: want 0 (none) to 1`},
	} {
		t.Run(name, func(t *testing.T) {
			assert.ErrorContains(t, row.cfg.Validate(), row.want)
			assert.Panics(t, func() { chaos.New(row.cfg) })
			c := enabled(chaos.Config{Faults: chaos.Faults{RejectRatio: 1}})
			require.Error(t, c.Reconfigure(row.cfg))
			assert.Equal(t, "rr", try(t, c, t.Context(), 2), "the old one stays")
		})
	}
	assert.NoError(t, chaos.Config{Faults: chaos.Faults{RejectRatio: 0.1, ErrorRatio: 0.2, PanicRatio: 0.7}}.Validate())
}

func TestChaos_rule06_callersCancelIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := enabled(chaos.Config{Name: "slow", Faults: chaos.Faults{DelayRatio: 1, Delay: time.Hour}})
		cause := errors.New("user left")
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(cause) })
		start := time.Now()
		err := c.Do(ctx, func(context.Context) error { panic("ran") })
		assert.Equal(t, time.Second, time.Since(start))
		for _, target := range []error{context.Canceled, cause, chaos.ErrInjected} {
			assert.ErrorIs(t, err, target)
		}
		assert.EqualError(t, err, "chaos[slow]: injected delay outlasted the context: context canceled: user left")
	})
}

// A destination that is too slow opens breakers, is called again, and is no rejection.
func TestChaos_delayBeyondATimeLimitIsAFailure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := enabled(chaos.Config{Faults: chaos.Faults{DelayRatio: 1, Delay: time.Minute}})
		b := breaker.New(breaker.Config{ConsecutiveFailures: 3})
		r := retry.New(retry.Config{MaxAttempts: 3, Backoff: retry.Constant(time.Millisecond)})
		p := thole.Chain(r, b, timeout.New(timeout.Config{Limit: time.Second}), c)
		err := p.Do(t.Context(), func(context.Context) error { panic("ran") })
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		assert.ErrorIs(t, err, retry.ErrExhausted)
		assert.ErrorIs(t, err, chaos.ErrInjected)
		assert.NotErrorIs(t, err, thole.ErrRejected)
		assert.Equal(t, breaker.Open, b.State())
	})
}

// The time base is each instance's own: a bubble's clock stands elsewhere.
func TestChaos_rule07_timeIsMonotonicAndPerInstance(t *testing.T) {
	outside := chaos.New(chaos.Config{})
	outside.Enable(time.Hour)
	synctest.Test(t, func(t *testing.T) {
		c := chaos.New(chaos.Config{})
		c.Enable(time.Hour)
		assert.Equal(t, time.Hour, c.Stats().Left)
	})
	assert.InDelta(t, time.Hour, outside.Stats().Left, float64(time.Minute))
}

func TestChaos_explainShowsThatItIsOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := chaos.New(chaos.Config{Name: "pay", Seed: 1, Faults: chaos.Faults{DelayRatio: 0.5, Delay: time.Second}})
		p := thole.Chain(c)
		assert.Contains(t, thole.Explain(p), "chaos[pay]: Enabled false, Seed 1, ")
		assert.Zero(t, c.Describe().MaxWait)
		c.Enable(0)
		assert.Contains(t, thole.Explain(p), "chaos[pay]: ENABLED until disabled, Seed 1, ")
		assert.Equal(t, time.Second, c.Describe().MaxWait)
		c.Enable(time.Minute)
		time.Sleep(time.Second)
		assert.Contains(t, thole.Explain(p), "chaos[pay]: ENABLED for another 59s, ")
		assert.Equal(t, "chaos[pay]", c.String())
		assert.True(t, c.Describe().Blocking)
	})
}

func TestChaos_describesFaultsOfKeys(t *testing.T) {
	c := chaos.New(chaos.Config{Key: thole.TargetFrom, Keys: map[string]chaos.Faults{
		"b": {DelayRatio: 1, MaxDelay: time.Minute}, "a": {PanicRatio: 0.25},
	}})
	assert.Equal(t, "0.25", setting(t, c, `Keys["a"].PanicRatio`))
	assert.Equal(t, "1m0s", setting(t, c, `Keys["b"].MaxDelay`))
	c.Enable(0)
	assert.Equal(t, time.Minute, c.Describe().MaxWait)
}

// Any numbers are either refused, or work.
func FuzzConfig(f *testing.F) {
	f.Add(0.0, 0.0, 0.0, 0.0, int64(0), int64(0), uint64(0))
	f.Add(0.5, 0.5, 0.0, 1.0, int64(1), int64(1<<62), uint64(1))
	f.Add(math.NaN(), math.Inf(1), -0.5, 1.5, int64(-1), int64(math.MinInt64), uint64(math.MaxUint64))
	f.Add(1.0, 0.0, 0.0, 0.0, int64(math.MaxInt64), int64(math.MaxInt64), uint64(1))
	f.Fuzz(func(t *testing.T, reject, fail, panics, delay float64, least, most int64, seed uint64) {
		cfg := chaos.Config{Seed: seed, Faults: chaos.Faults{
			RejectRatio: reject, ErrorRatio: fail, PanicRatio: panics, DelayRatio: delay,
			Delay: time.Duration(least), MaxDelay: time.Duration(most),
		}}
		if cfg.Validate() != nil {
			assert.Panics(t, func() { chaos.New(cfg) })
			return
		}
		synctest.Test(t, func(t *testing.T) {
			c := enabled(cfg)
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			start := time.Now()
			for range 20 {
				if ctx.Err() == nil {
					letter(t, c, ctx)
				}
			}
			require.LessOrEqual(t, time.Since(start), time.Second)
			s := c.Stats()
			require.LessOrEqual(t, s.Rejected+s.Errors+s.Panics, s.Calls)
		})
	})
}
