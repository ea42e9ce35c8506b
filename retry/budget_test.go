package retry_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

func TestRetrier_rule23_aSpentBudgetEndsTheCallAtOnceWithTheLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{})
		for budget.Withdraw() {
		}
		hooked := false
		r := retry.New(retry.Config{Name: "x", Budget: budget, Backoff: retry.Constant(time.Second),
			OnRetry: func(context.Context, thole.Attempt, error, time.Duration) { hooked = true }})
		fn := newScript(errBoom)
		err := r.Do(t.Context(), fn.run)
		gaveUp(t, err, errBoom, 1)
		require.ErrorIs(t, err, retry.ErrBudget)
		require.NotErrorIs(t, err, retry.ErrExhausted)
		reason, ok := thole.ReasonOf(err)
		require.True(t, ok)
		require.Equal(t, thole.ReasonBudget, reason)
		require.EqualError(t, err, "retry[x]: 1 attempt, budget spent: boom")
		require.Zero(t, time.Since(fn.start))
		require.False(t, hooked)
		require.Equal(t, retry.Stats{Calls: 1, OverBudget: 1}, r.Stats())

		// It fills again: a drained budget is not a closed door.
		time.Sleep(time.Second)
		require.NoError(t, r.Do(t.Context(), newScript(errBoom, nil).run))
	})
}

func TestRetrier_rule23_neverOverdrawnUnderConcurrency(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes, so nothing trickles in
		const calls = 2000
		budget := thole.NewBudget(thole.BudgetConfig{})
		retriers := []*retry.Retrier{
			retry.New(retry.Config{Budget: budget, Backoff: retry.Constant(0)}),
			retry.New(retry.Config{Budget: budget, Backoff: retry.Constant(0), MaxAttempts: 50}),
		}
		var runs atomic.Int64
		var group sync.WaitGroup
		for i := range calls {
			group.Go(func() {
				err := retriers[i%2].Do(t.Context(), func(context.Context) error { runs.Add(1); return errBoom })
				assert.ErrorIs(t, err, errBoom)
			})
		}
		group.Wait()
		extra := int(runs.Load()) - calls
		require.LessOrEqual(t, extra, 10+calls/5)
		require.GreaterOrEqual(t, extra, calls/10, "and what it holds can be spent")
		s := budget.Stats()
		require.Equal(t, extra, s.Withdrawn)
		require.Equal(t, calls, s.Calls, "a deposit for each call, none for a retry")
		require.Equal(t, extra, retriers[0].Stats().Retries+retriers[1].Stats().Retries)
	})
}

func TestRetrier_rule23_everyPathReleasesWhatItDidNotUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		budget := thole.NewBudget(thole.BudgetConfig{})
		r := retry.New(retry.Config{Budget: budget, Backoff: retry.Constant(time.Hour)})
		var group sync.WaitGroup
		ctx, cancel := context.WithCancel(t.Context())
		for range 10 {
			group.Go(func() { assert.ErrorIs(t, r.Do(ctx, newScript(errBoom).run), context.Canceled) })
		}
		synctest.Wait()
		require.Equal(t, 10, budget.Stats().Withdrawn, "a call in its delay holds its token")
		cancel()
		group.Wait()
		require.Zero(t, budget.Stats().Withdrawn)
	})
}

func TestRetrier_rule23_nestedRetriesShareTheBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 1000
		budget := thole.NewBudget(thole.BudgetConfig{})
		cfg := retry.Config{Budget: budget, Backoff: retry.Constant(0)}
		outer, inner := retry.New(cfg), retry.New(cfg)
		runs := 0
		for range calls {
			_ = outer.Do(t.Context(), func(ctx context.Context) error {
				return inner.Do(ctx, func(context.Context) error { runs++; return errBoom })
			})
		}
		require.Equal(t, calls, budget.Stats().Calls, "one deposit for a call, however deep")
		require.LessOrEqual(t, runs, calls*12/10+10)
	})
}

func TestRetrier_rule23_ownBudgetIsOnByDefaultAndBoundsTheLoad(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{Backoff: retry.Constant(0)})
		run := func(calls int) float64 {
			runs := 0
			for range calls {
				time.Sleep(time.Millisecond) // 1,000 calls a second for a while
				_ = r.Do(t.Context(), func(context.Context) error { runs++; return errBoom })
			}
			return float64(runs) / float64(calls)
		}
		run(10_000) // spends what there was
		load := run(30_000)
		require.LessOrEqual(t, load, 1.2+1e-3)
		require.Greater(t, load, 1.15, "retries go on, within the budget")
	})
}

func TestRetrier_rule23_noBudgetNeverSaysNo(t *testing.T) {
	r := retry.New(retry.Config{Budget: thole.NoBudget, Backoff: retry.Constant(0), MaxAttempts: 1000})
	gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 1000)
}
