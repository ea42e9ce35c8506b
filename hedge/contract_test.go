package hedge_test

import (
	"context"
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
	"github.com/thole-go/thole/hedge"
)

func TestHedge_panicIsRaisedInTheCaller(t *testing.T) {
	for hedgeIndex := range 2 {
		synctest.Test(t, func(t *testing.T) {
			boom := &struct{ x int }{1}
			assert.PanicsWithValue(t, boom, func() {
				_ = after(10*ms).Do(t.Context(), func(ctx context.Context) error {
					if thole.AttemptFrom(ctx).Hedge == hedgeIndex {
						time.Sleep(20 * ms)
						panic(boom)
					}
					return sleep(ctx, time.Second)
				})
			})
		})
	}
}

func TestHedge_rule01_goexitAndNilFn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10 * ms)
		returned := false
		var wg sync.WaitGroup
		wg.Go(func() {
			_ = h.Do(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
			returned = true
		})
		wg.Wait()
		assert.False(t, returned)
		assert.Panics(t, func() { _ = h.Do(t.Context(), nil) })
		assert.NoError(t, h.Do(t.Context(), func(context.Context) error { return nil }))
		assert.Equal(t, 0, h.Stats().LoserPanics)
	})
}

// wrapping is an error that panics when it is asked what it wraps, if it is nil.
type wrapping struct{ inner error }

func (e *wrapping) Error() string { return "wrapping" }
func (e *wrapping) Unwrap() error { return e.inner }

// It once ended the process: the question is asked in a goroutine that is the hedge's own.
func TestHedge_rule01_panicOfAnErrorIsRaisedInTheCaller(t *testing.T) {
	for name, cfg := range map[string]hedge.Config{"a delay": {Delay: time.Second}, "a quantile": {}} {
		t.Run(name, func(t *testing.T) {
			h := hedge.New(cfg)
			assert.Panics(t, func() {
				_ = h.Do(t.Context(), func(context.Context) error { return (*wrapping)(nil) })
			})
			assert.NoError(t, h.Do(t.Context(), func(context.Context) error { return nil }))
		})
	}
}

// What a failed attempt leaves to be released is called in a goroutine of the hedge's. When that
// ended there, Do once waited for ever.
func TestHedge_rule01_whatAFailureReleasesMayPanicOrGoexit(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("late") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := after(10 * ms)
				ctx, life := thole.WithLifetime(t.Context())
				err := h.Do(ctx, func(ctx context.Context) error {
					if thole.AttemptFrom(ctx).Hedge > 0 {
						thole.LifetimeFrom(ctx).Adopt(leave)
					}
					time.Sleep(20 * ms)
					return context.DeadlineExceeded
				})
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				life.End()
				synctest.Wait()
				assert.Equal(t, 1, h.Stats().LoserPanics)
			})
		})
	}
}

// A good answer may be that somebody further on rejected the call: it ran all the same.
func TestHedge_anAnswerThatTellsOfARejectionIsOne(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{})
		h := hedge.New(hedge.Config{Delay: 10 * ms, Budget: budget})
		full := thole.Rejection(thole.ReasonFull, "full")
		err := h.Do(t.Context(), func(ctx context.Context) error {
			if thole.AttemptFrom(ctx).Hedge > 0 {
				return thole.Answer(full)
			}
			return sleep(ctx, time.Second)
		})
		assert.ErrorIs(t, err, full)
		assert.Equal(t, 1, h.Stats().HedgeWins)
		assert.Equal(t, 1, budget.Stats().Withdrawn)
	})
}

func TestHedge_rule01_losersPanicIsCounted(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("late") }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := after(10 * ms)
				ctx, life := thole.WithLifetime(t.Context())
				defer life.End()
				released := false
				assert.NoError(t, h.Do(ctx, func(ctx context.Context) error {
					if thole.AttemptFrom(ctx).Hedge == 1 {
						return nil
					}
					thole.LifetimeFrom(ctx).Adopt(func() { released = true })
					<-ctx.Done()
					leave()
					return nil
				}))
				synctest.Wait()
				assert.Equal(t, 1, h.Stats().LoserPanics)
				assert.True(t, released)
			})
		})
	}
}

func TestHedge_rule02_nothingIsLeft(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine left over fails the bubble
		parent, cancel := context.WithCancel(context.Background())
		defer cancel()
		h := hedge.New(hedge.Config{Delay: 10 * ms, Budget: thole.NoBudget})
		heap := func() int {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return int(m.HeapObjects)
		}
		work := func(n int) {
			for i := range n {
				ctx, life := thole.WithLifetime(parent)
				_ = h.Do(ctx, script(run{time.Duration(i%3) * 8 * ms, nil}, run{2 * ms, errSecond}))
				life.End()
			}
			synctest.Wait()
		}
		work(10)
		before := heap()
		work(1000)
		assert.Less(t, heap()-before, 500)
	})
}

func TestHedge_rule03_fnMayUseThePolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10 * ms)
		require.NoError(t, h.Do(t.Context(), func(ctx context.Context) error {
			assert.Equal(t, 1, h.Stats().Calls)
			require.NoError(t, h.Reconfigure(hedge.Config{}))
			return h.Do(ctx, func(context.Context) error { return nil })
		}))
	})
}

func TestHedge_rule04_oneInstanceInManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: 10 * ms, MaxHedges: 2, Budget: thole.NoBudget})
		var wg sync.WaitGroup
		for i := range 200 {
			wg.Go(func() {
				for j := range 10 {
					v, err := thole.Do(t.Context(), h, func(ctx context.Context) (int, error) {
						d := time.Duration((i*7+j*3+thole.AttemptFrom(ctx).Hedge*5)%40) * ms
						return 100*i + j, sleep(ctx, d)
					})
					assert.NoError(t, err)
					assert.Equal(t, 100*i+j, v)
				}
			})
		}
		wg.Wait()
		assert.Equal(t, 2000, h.Stats().Calls)
	})
}

// The race between an answer, the timer and the caller's cancel, in real time.
func TestHedge_rule04_stress(t *testing.T) {
	h := hedge.New(hedge.Config{Delay: 50 * time.Microsecond, MaxHedges: 2, Budget: thole.NoBudget})
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 300 {
				ctx, cancel := context.WithCancel(context.Background())
				ctx, life := thole.WithLifetime(ctx)
				if i%5 == 0 {
					time.AfterFunc(60*time.Microsecond, cancel)
				}
				err := h.Do(ctx, func(ctx context.Context) error {
					return sleep(ctx, time.Duration((g*31+i*17)%120)*time.Microsecond)
				})
				if err != nil {
					assert.ErrorIs(t, err, context.Canceled)
				}
				life.End()
				cancel()
			}
		})
	}
	wg.Wait()
}

func TestHedge_rule05_badConfigIsRefused(t *testing.T) {
	for text, cfg := range map[string]hedge.Config{
		"hedge: Delay is -1ns: want 0 (Quantile decides) to 876000 h":             {Delay: -1},
		"hedge: Delay is 2562047h47m16.854775807s: want 0":                        {Delay: math.MaxInt64},
		"hedge: Quantile is NaN: want 0 (0.95 if Delay is 0 too, else none) to 0": {Quantile: math.NaN()},
		"hedge: Quantile is 1: want":                                              {Quantile: 1},
		"hedge: Quantile is -0.1: want":                                           {Quantile: -0.1},
		"hedge: MaxHedges is -1: want 0 (1) to 10":                                {MaxHedges: -1},
		"hedge: MaxHedges is 11: want":                                            {MaxHedges: 11},
	} {
		assert.ErrorContains(t, cfg.Validate(), text)
		assert.Panics(t, func() { hedge.New(cfg) })
		h := after(10 * ms)
		assert.Error(t, h.Reconfigure(cfg))
		assert.Equal(t, 10*ms, h.Stats().Delay, "the old one stays")
	}
}

func TestHedge_rule06_callersCancelIsPrompt(t *testing.T) {
	for _, row := range []struct {
		name string
		fn   func(context.Context) error
		is   []error
	}{
		{"obeys", func(ctx context.Context) error { <-ctx.Done(); return ctx.Err() }, nil},
		{"obeys, with an error of its own", func(ctx context.Context) error { <-ctx.Done(); return errFirst }, []error{errFirst}},
		{"does not obey", func(context.Context) error { time.Sleep(time.Hour); return nil }, nil},
		{"one has failed, one does not obey", func(ctx context.Context) error {
			if thole.AttemptFrom(ctx).Hedge == 0 {
				time.Sleep(15 * ms)
				return errFirst
			}
			time.Sleep(time.Hour)
			return nil
		}, []error{errFirst}},
		{"one was rejected, one does not obey", func(ctx context.Context) error {
			if thole.AttemptFrom(ctx).Hedge == 1 {
				return errReject
			}
			time.Sleep(time.Hour)
			return nil
		}, nil},
		{"one was rejected, one obeys", func(ctx context.Context) error {
			if thole.AttemptFrom(ctx).Hedge == 1 {
				return errReject
			}
			return sleep(ctx, time.Hour)
		}, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithCancel(t.Context())
				time.AfterFunc(100*ms, cancel)
				start := time.Now()
				err := after(10*ms).Do(ctx, row.fn)
				assert.LessOrEqual(t, time.Since(start), 101*ms)
				assert.ErrorIs(t, err, context.Canceled)
				assert.NotErrorIs(t, err, thole.ErrRejected)
				for _, want := range row.is {
					assert.ErrorIs(t, err, want)
				}
				if row.is == nil {
					assert.Equal(t, context.Canceled, err)
				}
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// A success is never thrown away, be it the last thing that happens.
func TestHedge_rule06_successAtTheLastMoment(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 100 {
			ctx, cancel := context.WithCancel(t.Context())
			assert.NoError(t, after(10*ms).Do(ctx, func(context.Context) error {
				cancel()
				return nil
			}))
		}
	})
}

func TestHedge_doneContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	h := after(10 * ms)
	assert.Equal(t, context.Canceled, h.Do(ctx, func(context.Context) error { panic("ran") }))
	assert.Equal(t, 0, h.Stats().Calls)
}

func TestHedge_onceRunsInTheCallersGoroutine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(thole.Once(t.Context()), ms)
		defer cancel()
		start := time.Now()
		assert.NoError(t, after(10*ms).Do(ctx, func(context.Context) error { time.Sleep(time.Second); return nil }))
		assert.Equal(t, time.Second, time.Since(start), "the effect is not left behind")
	})
}

func FuzzConfig(f *testing.F) {
	f.Add(int64(0), 0.0, 0)
	f.Add(int64(-1), math.NaN(), 11)
	f.Add(int64(math.MaxInt64), math.Inf(1), math.MaxInt)
	f.Add(int64(1), 0.999, 10)
	f.Add(int64(0), 1e-300, 1)
	f.Fuzz(func(t *testing.T, delay int64, q float64, n int) {
		cfg := hedge.Config{Delay: time.Duration(delay), Quantile: q, MaxHedges: n}
		if cfg.Validate() != nil {
			assert.Panics(t, func() { hedge.New(cfg) })
			return
		}
		h := hedge.New(cfg)
		for range 20 {
			require.NoError(t, h.Do(t.Context(), func(context.Context) error { return nil }))
		}
		require.NotEmpty(t, fmt.Sprint(h))
	})
}

// Latencies are measured on the monotonic clock, from a base that each instance has of its
// own: a bubble's clock starts in another year than the one outside.
func TestHedge_rule07_timeBaseIsPerInstance(t *testing.T) {
	outside := hedge.New(hedge.Config{Quantile: 0.5})
	synctest.Test(t, func(t *testing.T) {
		inside := hedge.New(hedge.Config{Quantile: 0.5})
		for _, h := range []*hedge.Hedge{inside, outside} {
			for range 20 {
				require.NoError(t, h.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, 20*ms) }))
			}
			assert.InEpsilon(t, float64(20*ms), float64(h.Stats().Delay), 0.04)
		}
	})
}
