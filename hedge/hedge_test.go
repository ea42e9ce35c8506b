package hedge_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

const ms = time.Millisecond

var (
	errFirst  = errors.New("first failed")
	errSecond = errors.New("second failed")
	errReject = thole.Rejection(thole.ReasonFull, "full")
)

func after(d time.Duration) *hedge.Hedge {
	return hedge.New(hedge.Config{Name: "test", Delay: d})
}

// sleep takes d, or less if ctx ends before.
func sleep(ctx context.Context, d time.Duration) error {
	select {
	case <-time.After(d):
		return nil
	case <-ctx.Done():
		return ctx.Err()
	}
}

// A run is what one attempt does: it takes some time, and then returns err.
type run struct {
	takes time.Duration
	err   error
}

// script returns an fn whose attempts do what runs says.
func script(runs ...run) func(context.Context) error {
	return func(ctx context.Context) error {
		r := runs[thole.AttemptFrom(ctx).Hedge]
		if err := sleep(ctx, r.takes); err != nil {
			return err
		}
		return r.err
	}
}

func TestHedge_rule36_whichAnswerCounts(t *testing.T) {
	answer := thole.Answer(errFirst)
	for _, row := range []struct {
		name   string
		runs   []run
		want   error
		took   time.Duration
		hedges int
		wins   int
	}{
		{"fast", []run{{1 * ms, nil}}, nil, 1 * ms, 0, 0},
		{"hedge wins", []run{{100 * ms, nil}, {5 * ms, nil}}, nil, 15 * ms, 1, 1},
		{"first wins after all", []run{{12 * ms, nil}, {5 * ms, nil}}, nil, 12 * ms, 1, 0},
		{"fast failure of the hedge", []run{{50 * ms, nil}, {1 * ms, errSecond}}, nil, 50 * ms, 1, 0},
		{"failure of the first, hedge goes on", []run{{12 * ms, errFirst}, {50 * ms, nil}}, nil, 60 * ms, 1, 1},
		{"the first fails alone", []run{{5 * ms, errFirst}}, errFirst, 5 * ms, 0, 0},
		{"the first answers", []run{{5 * ms, answer}}, answer, 5 * ms, 0, 0},
		{"the hedge answers", []run{{50 * ms, nil}, {5 * ms, answer}}, answer, 15 * ms, 1, 1},
		{"the hedge is rejected", []run{{50 * ms, errFirst}, {1 * ms, errReject}}, errFirst, 50 * ms, 1, 0},
		{"both are rejected", []run{{50 * ms, errReject}, {1 * ms, errReject}}, errReject, 50 * ms, 1, 0},
		{"the first is rejected, the hedge fails", []run{{15 * ms, errReject}, {10 * ms, errSecond}}, errSecond, 20 * ms, 1, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h, start := after(10*ms), time.Now()
				err := h.Do(t.Context(), script(row.runs...))
				assert.Equal(t, row.want, err)
				assert.Equal(t, row.took, time.Since(start))
				stats := h.Stats()
				assert.Equal(t, row.hedges, stats.Hedges)
				assert.Equal(t, row.wins, stats.HedgeWins)
			})
		})
	}
}

type asking struct{ after time.Duration }

func (a *asking) Error() string             { return "busy" }
func (a *asking) RetryAfter() time.Duration { return a.after }

func TestHedge_rule36_allFail(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := &asking{time.Second}
		h := hedge.New(hedge.Config{Name: "test", Delay: 10 * ms, MaxHedges: 3, Budget: thole.NoBudget})
		err := h.Do(t.Context(), script(run{60 * ms, first}, run{1 * ms, errSecond}, run{1 * ms, &asking{1}}, run{2 * ms, errReject}))
		var e *hedge.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "test", e.Name)
		assert.Equal(t, first, e.Err)
		assert.Equal(t, []error{errSecond, &asking{1}}, e.Others)
		assert.ErrorIs(t, err, errSecond)
		assert.NotErrorIs(t, err, thole.ErrRejected, "it would say that nothing ran")
		d, _ := thole.RetryAfter(err)
		assert.Equal(t, time.Second, d, "the first one's")
		assert.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))
		assert.EqualError(t, err, "hedge[test]: all 3 attempts failed: busy; second failed; busy")
	})
}

type ignored struct{ error }

func (ignored) Outcome() thole.Outcome { return thole.Ignored }

func TestHedge_rule36_outcomeIsTheFirsts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := after(10*ms).Do(t.Context(), script(run{15 * ms, errFirst}, run{10 * ms, ignored{errSecond}}))
		assert.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))
		err = after(10*ms).Do(t.Context(), script(run{15 * ms, ignored{errFirst}}, run{10 * ms, errSecond}))
		assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), err))
	})
}

func TestHedge_rule37_losersAreCancelledAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var causes []error
		var mu sync.Mutex
		start := time.Now()
		err := after(10*ms).Do(t.Context(), func(ctx context.Context) error {
			if thole.AttemptFrom(ctx).Hedge == 1 {
				return sleep(ctx, 5*ms)
			}
			<-ctx.Done()
			assert.Equal(t, 15*ms, time.Since(start))
			mu.Lock()
			causes = append(causes, context.Cause(ctx))
			mu.Unlock()
			time.Sleep(time.Hour) // does not listen: Do does not wait
			return nil
		})
		assert.NoError(t, err)
		assert.Equal(t, 15*ms, time.Since(start))
		synctest.Wait()
		mu.Lock()
		assert.EqualError(t, causes[0], "hedge: another attempt was faster")
		mu.Unlock()
		time.Sleep(2 * time.Hour) // the bubble would not end with a goroutine left
	})
}

func TestHedge_rule37_valueNeverChangesAfterReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		v, err := thole.Do(t.Context(), after(10*ms), func(ctx context.Context) (string, error) {
			if thole.AttemptFrom(ctx).Hedge == 1 {
				return "hedge", nil
			}
			time.Sleep(100 * ms) // never listens, and succeeds in the end
			return "first", nil
		})
		assert.NoError(t, err)
		assert.Equal(t, "hedge", v)
		time.Sleep(time.Second)
		assert.Equal(t, "hedge", v)
	})
}

func TestHedge_rule37_winnersContextEndsWithTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var leaked context.Context
		require.NoError(t, after(time.Second).Do(t.Context(), func(ctx context.Context) error {
			leaked = ctx
			_ = ctx.Done()
			return nil
		}))
		assert.Equal(t, context.Canceled, leaked.Err())
	})
}

// Each attempt has a lifetime of its own. Only the winner's is handed over; the others end
// as soon as their fn has returned.
func TestHedge_rule37_lifetimes(t *testing.T) {
	for _, row := range []struct {
		name string
		runs []run
		keep int // the attempt whose result the caller gets
	}{
		{"the first wins", []run{{12 * ms, nil}, {50 * ms, nil}}, 0},
		{"the hedge wins", []run{{50 * ms, nil}, {5 * ms, nil}}, 1},
		{"the hedge wins, the first failed", []run{{12 * ms, errFirst}, {50 * ms, nil}}, 1},
		{"both fail, the first later", []run{{30 * ms, errFirst}, {5 * ms, errSecond}}, 0},
		{"both fail, the first earlier", []run{{12 * ms, errFirst}, {5 * ms, errSecond}}, -1},
		{"no hedge, failure", []run{{5 * ms, errFirst}}, 0},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var contexts [2]context.Context
				var ended [2]atomic.Bool
				ctx, life := thole.WithLifetime(t.Context())
				fn := script(row.runs...)
				_ = after(10*ms).Do(ctx, func(ctx context.Context) error {
					i := thole.AttemptFrom(ctx).Hedge
					contexts[i] = ctx
					assert.True(t, thole.LifetimeFrom(ctx).Adopt(func() { ended[i].Store(true) }))
					assert.NotSame(t, life, thole.LifetimeFrom(ctx))
					return fn(ctx)
				})
				synctest.Wait()
				for i := range row.runs {
					if i == row.keep {
						assert.False(t, ended[i].Load(), "attempt %d is handed over", i)
						assert.NoError(t, contexts[i].Err())
					} else {
						assert.True(t, ended[i].Load(), "attempt %d has ended", i)
						assert.Error(t, contexts[i].Err())
					}
				}
				life.End()
				for i := range row.runs {
					assert.True(t, ended[i].Load())
					assert.Error(t, contexts[i].Err())
				}
			})
		})
	}
}

func TestHedge_rule38_neverHedges(t *testing.T) {
	spent := thole.NewBudget(thole.BudgetConfig{Ratio: 0.001, MinPerSecond: 0.001})
	for name, row := range map[string]struct {
		mark   func(context.Context) context.Context
		budget *thole.Budget
		runs   []run
	}{
		"Once":         {mark: thole.Once, runs: []run{{time.Second, nil}}},
		"budget spent": {budget: spent, runs: []run{{time.Second, nil}}},
		"rejected":     {runs: []run{{5 * ms, errReject}}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Config{Delay: 10 * ms, Budget: row.budget})
				ctx := t.Context()
				if row.mark != nil {
					ctx = row.mark(ctx)
				}
				assert.Equal(t, row.runs[0].err, h.Do(ctx, script(row.runs...)))
				assert.Equal(t, 0, h.Stats().Hedges)
				if row.budget != nil {
					assert.Equal(t, 1, h.Stats().Refused)
				}
			})
		})
	}
}

// After a rejection while another attempt runs no more start.
func TestHedge_rule38_rejectionStopsFurtherHedges(t *testing.T) {
	for name, runs := range map[string][]run{
		"of the first": {{15 * ms, errReject}, {time.Second, nil}, {1, nil}},
		"of a hedge":   {{time.Second, nil}, {1 * ms, errReject}, {1, nil}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Config{Delay: 10 * ms, MaxHedges: 2, Budget: thole.NoBudget})
				assert.NoError(t, h.Do(t.Context(), script(runs...)))
				assert.Equal(t, 1, h.Stats().Hedges)
			})
		})
	}
}

func TestHedge_rule38_noHedgeAfterTheCallersCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10 * ms)
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		err := h.Do(ctx, func(context.Context) error { time.Sleep(time.Second); return nil })
		assert.Equal(t, context.DeadlineExceeded, err)
		time.Sleep(2 * time.Second)
		assert.Equal(t, 0, h.Stats().Hedges)
	})
}

func TestHedge_rule38_ownBudgetBoundsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := after(10 * ms)
		const calls = 2000
		for range calls {
			require.NoError(t, h.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, 20*ms) }))
		}
		stats := h.Stats()
		elapsed := calls * 20 * ms
		assert.Equal(t, calls, stats.Hedges+stats.Refused)
		assert.LessOrEqual(t, stats.Hedges, int(0.05*calls+elapsed.Seconds())+1)
		assert.GreaterOrEqual(t, stats.Hedges, int(0.04*calls))
	})
}

// A hedge that a policy further in rejected asked nobody: its token comes back.
func TestHedge_rule38_rejectedHedgeGivesItsTokenBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{Ratio: 0.0001, MinPerSecond: 1, Window: time.Hour})
		h := hedge.New(hedge.Config{Delay: 10 * ms, Budget: budget})
		for range 10 {
			require.NoError(t, h.Do(t.Context(), script(run{20 * ms, nil}, run{1 * ms, errReject})))
		}
		assert.Equal(t, 10, h.Stats().Hedges)
		assert.Equal(t, 0, h.Stats().Refused)
	})
}

func TestHedge_rule39_delayFollowsTheLatencies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Budget: thole.NoBudget})
		call := func(n int, d time.Duration, err error) {
			for range n {
				_ = h.Do(t.Context(), func(ctx context.Context) error {
					if e := sleep(ctx, d); e != nil {
						return e
					}
					return err
				})
			}
		}
		call(99, 20*ms, nil)
		assert.Zero(t, h.Stats().Delay, "not warm")
		call(1, time.Second, nil)
		assert.Zero(t, h.Stats().Hedges)
		assert.InEpsilon(t, float64(20*ms), float64(h.Stats().Delay), 0.04)

		call(500, 0, errFirst)
		assert.InEpsilon(t, float64(20*ms), float64(h.Stats().Delay), 0.04, "failures tell nothing")

		call(1200, 200*ms, nil)
		assert.InEpsilon(t, float64(200*ms), float64(h.Stats().Delay), 0.04, "slower")
		call(1200, 2*ms, nil)
		assert.InEpsilon(t, float64(2*ms), float64(h.Stats().Delay), 0.04, "faster")
	})
}

func TestHedge_rule39_delayIsTheFloor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{Delay: 50 * ms, Quantile: 0.9})
		assert.Equal(t, 50*ms, h.Stats().Delay, "until warm")
		for _, want := range []time.Duration{10 * ms, 300 * ms} {
			for range 1200 {
				require.NoError(t, h.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, want) }))
			}
			assert.InEpsilon(t, float64(max(want, 50*ms)), float64(h.Stats().Delay), 0.04)
		}
	})
}

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

func TestHedge_attemptsAreNumbered(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var mu sync.Mutex
		var seen []thole.Attempt
		h := hedge.New(hedge.Config{Delay: 10 * ms, MaxHedges: 2, Budget: thole.NoBudget})
		start := time.Now()
		ctx := thole.WithAttempt(t.Context(), thole.Attempt{Number: 4})
		require.NoError(t, h.Do(ctx, func(ctx context.Context) error {
			mu.Lock()
			seen = append(seen, thole.AttemptFrom(ctx))
			assert.Equal(t, time.Duration(len(seen)-1)*10*ms, time.Since(start))
			mu.Unlock()
			return sleep(ctx, 100*ms)
		}))
		assert.Equal(t, []thole.Attempt{{Number: 4}, {Number: 4, Hedge: 1}, {Number: 4, Hedge: 2}}, seen)
	})
}

// A budget that a retry around it holds as well hears of a call once.
func TestHedge_sharedBudgetCountsACallOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{Ratio: 0.1, MinPerSecond: 0.001, Window: time.Hour})
		h := hedge.New(hedge.Config{Delay: 10 * ms, Budget: budget})
		for range 1000 {
			ctx := budget.DepositOnce(t.Context())
			require.NoError(t, h.Do(ctx, func(ctx context.Context) error { return sleep(ctx, 20*ms) }))
		}
		assert.InDelta(t, 100, h.Stats().Hedges, 10)
	})
}

func TestHedge_reconfigureKeepsWhatIsKnown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := hedge.New(hedge.Config{})
		for range 600 {
			_ = h.Do(t.Context(), func(ctx context.Context) error { return sleep(ctx, 20*ms) })
		}
		require.NoError(t, h.Reconfigure(hedge.Config{Quantile: 0.5}))
		assert.InEpsilon(t, float64(20*ms), float64(h.Stats().Delay), 0.04)
		require.NoError(t, h.Reconfigure(hedge.Config{Delay: time.Second}))
		assert.Equal(t, time.Second, h.Stats().Delay)
	})
}

func TestHedge_describesItself(t *testing.T) {
	d := hedge.New(hedge.Config{Name: "test"}).Describe()
	assert.Equal(t, "hedge[test]", d.String())
	assert.False(t, d.Blocking)
	assert.Equal(t, 2, d.Runs)
	assert.Equal(t, []thole.Setting{{Key: "Delay", Value: "0s"}, {Key: "Quantile", Value: "0.95"}, {Key: "MaxHedges", Value: "1"},
		{Key: "Budget", Value: "own, ratio 0.05, at least 1 a second"}}, d.Settings)
	assert.Equal(t, "hedge", hedge.New(hedge.Config{Budget: thole.NoBudget}).String())
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
