package hedge_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

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

		call(3000, 0, errFirst)
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

// One call of five is a straggler that a hedge, or the caller's deadline, cuts short. What
// was waited for it counts, else the estimate would be that of the fast ones alone.
func TestHedge_rule39_cutAttemptsCountAsSlow(t *testing.T) {
	spent := thole.NewBudget(thole.BudgetConfig{Ratio: 0.001, MinPerSecond: 0.001})
	for name, row := range map[string]struct {
		budget *thole.Budget
		least  time.Duration
	}{
		"by a hedge":      {thole.NoBudget, 20 * ms},
		"by the deadline": {spent, 50 * ms},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Config{Quantile: 0.7, Budget: row.budget})
				for i := range 1000 {
					ctx, cancel := context.WithTimeout(t.Context(), 50*ms)
					_ = h.Do(ctx, func(ctx context.Context) error {
						if i%5 == 0 && thole.AttemptFrom(ctx).Hedge == 0 {
							return sleep(ctx, time.Second)
						}
						return sleep(ctx, 10*ms)
					})
					cancel()
				}
				require.NoError(t, h.Reconfigure(hedge.Config{Quantile: 0.9}))
				assert.GreaterOrEqual(t, h.Stats().Delay, row.least)
			})
		})
	}
}
