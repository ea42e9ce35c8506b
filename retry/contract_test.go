package retry_test

import (
	"context"
	"errors"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/retry"
)

func TestRetrier_rule01_panicsAndGoexitLeaveItWhole(t *testing.T) {
	rows := map[string]struct {
		fn     func(n int) error
		hook   func()
		spent  int // tokens of runs that began
		panics bool
	}{
		"panic in the first run":  {fn: func(int) error { panic("p") }, panics: true},
		"Goexit in the first run": {fn: func(int) error { runtime.Goexit(); return nil }},
		"panic in a retry": {fn: func(n int) error {
			if n == 1 {
				panic("p")
			}
			return errBoom
		}, spent: 1, panics: true},
		"panic in the hook":  {fn: func(int) error { return errBoom }, hook: func() { panic("p") }, panics: true},
		"Goexit in the hook": {fn: func(int) error { return errBoom }, hook: runtime.Goexit},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := thole.NewBudget(thole.BudgetConfig{})
				whole := budget.Stats().Tokens
				cfg := retry.Config{Budget: budget, Backoff: retry.Constant(0)}
				if row.hook != nil {
					cfg.OnRetry = func(context.Context, thole.Attempt, error, time.Duration) { row.hook() }
				}
				r := retry.New(cfg)
				runs := 0
				p := abort(func() {
					_ = r.Do(t.Context(), func(ctx context.Context) error {
						runs++
						return row.fn(thole.AttemptFrom(ctx).Number)
					})
				})
				if row.panics {
					require.Equal(t, "p", p)
				} else {
					require.Nil(t, p)
				}
				require.Equal(t, row.spent+1, runs, "a panic is never retried")
				require.Equal(t, row.spent, budget.Stats().Withdrawn)
				require.InDelta(t, whole-float64(row.spent), budget.Stats().Tokens, 0.3)
				require.Zero(t, r.Stats().Waiting)
				require.NoError(t, r.Do(t.Context(), newScript(nil).run))
			})
		})
	}
	require.NotNil(t, abort(func() { _ = retry.New(retry.Config{}).Do(t.Context(), nil) }))
}

func TestRetrier_rule01_panicWhileALifetimeIsRewoundRefundsTheToken(t *testing.T) {
	budget := thole.NewBudget(thole.BudgetConfig{})
	r := retry.New(retry.Config{Budget: budget})
	ctx, life := thole.WithLifetime(t.Context())
	defer life.End()
	require.Equal(t, "p", abort(func() {
		_ = r.Do(ctx, func(ctx context.Context) error {
			thole.LifetimeFrom(ctx).Adopt(func() { panic("p") })
			return errBoom
		})
	}))
	require.Zero(t, budget.Stats().Withdrawn)
}

func TestRetrier_rule02_leavesNothingBehindUnderALongLivedParent(t *testing.T) {
	parent, cancel := context.WithCancel(t.Context())
	defer cancel()
	r := retry.New(retry.Config{Backoff: retry.Constant(time.Microsecond), Budget: thole.NoBudget})
	use := func(n int) {
		for range n {
			ctx, stop := context.WithTimeout(parent, time.Minute)
			_ = r.Do(ctx, newScript(errBoom).run)
			stop()
		}
	}
	objects := func() int {
		runtime.GC()
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return int(m.HeapObjects)
	}
	use(100)
	goroutines, before := runtime.NumGoroutine(), objects()
	use(2000)
	require.LessOrEqual(t, runtime.NumGoroutine(), goroutines)
	require.Less(t, objects()-before, 1000, "less than one object in two calls: none is kept")
}

// A bubble ends only when each of its goroutines has, and panics if one hangs.
func TestRetrier_rule02_noGoroutineOutlivesACall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		r := retry.New(retry.Config{Backoff: retry.Constant(time.Hour), MaxElapsed: 24 * time.Hour})
		done := make(chan error, 1)
		go func() { done <- r.Do(ctx, newScript(errBoom).run) }()
		synctest.Wait()
		require.Equal(t, 1, r.Stats().Waiting)
		cancel()
		require.Error(t, <-done)
		require.Zero(t, r.Stats().Waiting)
	})
}

func TestRetrier_rule03_hookMayUseItsOwnRetrier(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var r *retry.Retrier
		var delays []time.Duration
		inHook := false
		r = retry.New(retry.Config{Name: "a", Backoff: retry.Constant(time.Second),
			OnRetry: func(ctx context.Context, _ thole.Attempt, _ error, d time.Duration) {
				delays = append(delays, d)
				if inHook {
					return
				}
				inHook = true
				defer func() { inHook = false }()
				assert.Equal(t, "retry[a]", r.String())
				assert.NotZero(t, r.Stats().Calls)
				assert.NotEmpty(t, r.Describe().Settings)
				assert.NoError(t, r.Do(ctx, newScript(nil).run))
				assert.NoError(t, r.Reconfigure(retry.Config{Name: "a", MaxAttempts: 1}))
			}})
		gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 3)
		require.Equal(t, []time.Duration{time.Second, time.Second}, delays, "once for each retry")
	})
}

func TestRetrier_rule04_sharedInstanceIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Backoff: retry.Constant(0), MaxAttempts: 100})
		runs := 0
		for range 3 { // three users of one retrier: its own budget is one as well
			_ = r.Do(t.Context(), func(context.Context) error { runs++; return errBoom })
		}
		require.Equal(t, 3, r.Stats().Calls)
		require.Equal(t, 3+10, runs)
	})
}

func TestConfig_rule05_invalidNumbersAreRefusedByName(t *testing.T) {
	const tooLong = time.Duration(math.MaxInt64)
	for want, cfg := range map[string]retry.Config{
		"retry: MaxElapsed is 0s: want more than 0, because MaxAttempts is negative (unlimited)": {MaxAttempts: -1},
		"retry: MaxElapsed is -1ns: want 0 (no bound) to 876000 h":                               {MaxElapsed: -1},
		"retry: MaxElapsed is 2562047h47m16.854775807s: want 0 (no bound) to 876000 h":           {MaxElapsed: tooLong},
		"retry: MaxRetryAfter is -1s: want 0 (30 s) to 876000 h":                                 {MaxRetryAfter: -time.Second},
		"retry: MaxRetryAfter is 2562047h47m16.854775807s: want 0 (30 s) to 876000 h":            {MaxRetryAfter: tooLong},
		"retry: MaxAttempts is 2147483647: want 0 (3) to 1073741824, or negative (unlimited)":    {MaxAttempts: math.MaxInt32},
	} {
		require.EqualError(t, cfg.Validate(), want)
		require.PanicsWithValue(t, want, func() { retry.New(cfg) })
		require.EqualError(t, retry.New(retry.Config{}).Reconfigure(cfg), want)
	}
	require.NoError(t, retry.Config{}.Validate())
}

func TestSchedule_rule05_invalidArgumentsPanicByName(t *testing.T) {
	for want, f := range map[string]func(){
		"retry: Constant: d is -1ns: want 0 (no delay) to 876000 h":                               func() { retry.Constant(-1) },
		"retry: FullJitter: base is 0s: want more than 0, at most 876000 h (required)":            func() { retry.FullJitter(0, 1) },
		"retry: FullJitter: max is 1s: want base (2s) to 876000 h":                                func() { retry.FullJitter(2*time.Second, time.Second) },
		"retry: Exponential: max is 2562047h47m16.854775807s: want initial (1s) to 876000 h":      func() { retry.Exponential(time.Second, math.MaxInt64) },
		"retry: DecorrelatedJitter: base is -1s: want more than 0, at most 876000 h (required)":   func() { retry.DecorrelatedJitter(-time.Second, 1) },
		"retry: Exponential: initial is -1s: want more than 0, at most 876000 h (required)":       func() { retry.Exponential(-time.Second, 1) },
		"retry: DecorrelatedJitter: max is 2562047h47m16.854775807s: want base (1ns) to 876000 h": func() { retry.DecorrelatedJitter(1, math.MaxInt64) },
		"retry: Constant: d is 2562047h47m16.854775807s: want 0 (no delay) to 876000 h":           func() { retry.Constant(math.MaxInt64) },
		"retry: FullJitter: max is 876000h0m0.000000001s: want base (1ns) to 876000 h":            func() { retry.FullJitter(1, check.MaxDuration+1) },
	} {
		require.PanicsWithValue(t, want, f)
	}
}

// Whatever a foreign schedule returns, no delay is negative, none overflows, and a nil one
// is not a hot loop.
func TestRetrier_rule05_oddSchedulesAreSafe(t *testing.T) {
	fixed := func(d time.Duration) func() backoff.BackOff {
		return func() backoff.BackOff { return backoff.NewConstantBackOff(d) }
	}
	rows := map[string]struct {
		schedule func() backoff.BackOff
		attempts int
		at       time.Duration // when it gave up
	}{
		"stop":           {fixed(backoff.Stop), 1, 0},
		"negative":       {fixed(-2), 3, 0},
		"most negative":  {fixed(math.MinInt64), 3, 0},
		"endless":        {fixed(math.MaxInt64), 1, 0},
		"beyond a clock": {fixed(check.MaxDuration + 1), 1, 0},
		"two retries": {func() backoff.BackOff {
			return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Second), 1)
		}, 2, time.Second},
		"literal without clock, not reset": {func() backoff.BackOff {
			return &backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Hour}
		}, 3, 3 * time.Second},
		"literal without Stop": {func() backoff.BackOff {
			return &backoff.ExponentialBackOff{InitialInterval: time.Second, Multiplier: 2, MaxInterval: time.Hour, MaxElapsedTime: 2 * time.Second}
		}, 2, time.Second},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				fn := newScript(errBoom)
				e := gaveUp(t, retry.New(retry.Config{Backoff: row.schedule}).Do(t.Context(), fn.run), errBoom, row.attempts)
				require.Equal(t, row.at, e.Elapsed)
				require.Equal(t, row.attempts == 3, errors.Is(e, retry.ErrExhausted))
			})
		})
	}
	t.Run("nil is the default", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			var delays []time.Duration
			r := retry.New(retry.Config{MaxAttempts: 9, Backoff: func() backoff.BackOff { return nil },
				OnRetry: func(_ context.Context, _ thole.Attempt, _ error, d time.Duration) { delays = append(delays, d) }})
			gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 9)
			for n, d := range delays {
				require.LessOrEqual(t, d, 100*time.Millisecond<<n)
			}
			require.NotZero(t, delays[7])
		})
	})
	t.Run("a panicking factory", func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{})
		r := retry.New(retry.Config{Budget: budget, Backoff: func() backoff.BackOff { panic("p") }})
		require.NoError(t, r.Do(t.Context(), newScript(nil).run))
		require.PanicsWithValue(t, "p", func() { _ = r.Do(t.Context(), newScript(errBoom).run) })
		require.Zero(t, budget.Stats().Withdrawn)
	})
}

func TestRetrier_rule06_cancellationInADelayIsPromptAndReturnsTheToken(t *testing.T) {
	cause := errors.New("shutting down")
	rows := map[string]struct {
		end   func(context.Context) (context.Context, func())
		ends  []error
		delay time.Duration
	}{
		"cancel": {func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) },
			[]error{context.Canceled}, time.Hour},
		"cause": {func(ctx context.Context) (context.Context, func()) {
			ctx, cancel := context.WithCancelCause(ctx)
			return ctx, func() { cancel(cause) }
		}, []error{context.Canceled, cause}, time.Hour},
		"in the hook": {func(ctx context.Context) (context.Context, func()) { return context.WithCancel(ctx) },
			[]error{context.Canceled}, 0},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := thole.NewBudget(thole.BudgetConfig{})
				ctx, end := row.end(t.Context())
				defer end()
				r := retry.New(retry.Config{Name: "x", Budget: budget, Backoff: retry.Constant(row.delay),
					OnRetry: func(context.Context, thole.Attempt, error, time.Duration) {
						if row.delay == 0 {
							end()
						}
					}})
				if row.delay > 0 {
					time.AfterFunc(time.Minute, end)
				}
				fn := newScript(errBoom)
				err := r.Do(ctx, fn.run)
				e := gaveUp(t, err, errBoom, 1)
				for _, want := range row.ends {
					require.ErrorIs(t, err, want)
					require.Contains(t, err.Error(), want.Error())
				}
				require.NotErrorIs(t, err, retry.ErrExhausted)
				require.NotErrorIs(t, err, retry.ErrBudget)
				require.Equal(t, min(row.delay, time.Minute), e.Elapsed)
				require.Equal(t, 1, fn.runs())
				require.Zero(t, budget.Stats().Withdrawn, "the retry did not run")
				require.Equal(t, retry.Stats{Calls: 1, Interrupted: 1}, r.Stats())
			})
		})
	}
}

type overtime struct{}

func (overtime) Error() string { return "overtime" }

// errors.As finds the cause of an ended context too, but what fn said comes first.
func TestRetrier_rule06_theLastErrorAndTheCauseAreBothReachable(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(overtime{}) })
		last := &told{outcome: thole.Failure}
		err := retry.New(retry.Config{Backoff: retry.Constant(time.Hour)}).Do(ctx, newScript(last).run)
		require.EqualError(t, err, "retry: 1 attempt, 1s of retrying, context canceled: overtime: told to wait")
		var cause overtime
		require.ErrorAs(t, err, &cause)
		var teller interface{ RetryAfter() time.Duration }
		require.ErrorAs(t, err, &teller)
		require.Equal(t, last, teller)
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Second, func() { cancel(&told{after: time.Hour}) })
		last := &told{outcome: thole.Failure}
		err := retry.New(retry.Config{Backoff: retry.Constant(time.Hour)}).Do(ctx, newScript(last).run)
		var found *told
		require.ErrorAs(t, err, &found)
		require.Same(t, last, found)
	})
}

// The base of time belongs to the retrier: one made outside a bubble, whose clock starts in
// another century, measures right inside.
func TestRetrier_rule07_elapsedIsMonotonicAndPerInstance(t *testing.T) {
	outside := retry.New(retry.Config{MaxElapsed: 10 * time.Second, Backoff: retry.Constant(time.Second)})
	synctest.Test(t, func(t *testing.T) {
		inside := retry.New(retry.Config{MaxElapsed: 10 * time.Second, Backoff: retry.Constant(time.Second)})
		for _, r := range []*retry.Retrier{outside, inside} {
			e := gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 3)
			require.Equal(t, 2*time.Second, e.Elapsed)
		}
	})
}

func TestRetrier_rule22_oneRetrierServesManyGoroutines(t *testing.T) {
	const calls, attempts = 1000, 4
	var made, total atomic.Int64
	r := retry.New(retry.Config{MaxAttempts: attempts, Budget: thole.NoBudget, Backoff: func() backoff.BackOff {
		made.Add(1)
		return backoff.NewConstantBackOff(time.Microsecond)
	}})
	var group sync.WaitGroup
	for i := range calls {
		group.Go(func() {
			// Half of them are the second attempt of a hedge, with the first beside them.
			ctx := thole.WithAttempt(t.Context(), thole.Attempt{Hedge: i % 2})
			next := 0
			err := r.Do(ctx, func(ctx context.Context) error {
				total.Add(1)
				assert.Equal(t, thole.Attempt{Number: next, Hedge: i % 2}, thole.AttemptFrom(ctx))
				if next++; i%4 < 2 && next == attempts {
					return nil
				}
				return errBoom
			})
			if i%4 < 2 {
				assert.NoError(t, err)
				return
			}
			var e *retry.Error
			if assert.ErrorAs(t, err, &e) {
				assert.Equal(t, attempts, e.Attempts)
			}
		})
	}
	group.Wait()
	require.EqualValues(t, calls*attempts, total.Load())
	require.EqualValues(t, calls, made.Load(), "a schedule for each call")
	require.Equal(t, retry.Stats{
		Calls: calls, Retries: calls * (attempts - 1), Recovered: calls / 2, Exhausted: calls / 2,
	}, r.Stats())
}

func TestRetrier_rule22_schedulesAreMadeOnlyWhenARetryComes(t *testing.T) {
	made := 0
	r := retry.New(retry.Config{MaxAttempts: 2, Backoff: func() backoff.BackOff { made++; return &backoff.ZeroBackOff{} }})
	_ = r.Describe()
	_ = r.Do(t.Context(), newScript(nil).run)
	_ = r.Do(t.Context(), newScript(thole.Permanent(errBoom)).run)
	require.Zero(t, made)
	_ = r.Do(t.Context(), newScript(errBoom).run)
	require.Equal(t, 1, made)
}
