package retry_test

import (
	"context"
	"database/sql"
	"fmt"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

var _ thole.Policy = (*retry.Retrier)(nil)

func TestRetrier_firstSuccessRunsOnceWithTheCallersContext(t *testing.T) {
	fn := newScript(nil)
	ctx := context.WithValue(t.Context(), errBoom, 1)
	require.NoError(t, retry.New(retry.Config{}).Do(ctx, fn.run))
	require.Equal(t, 1, fn.runs())
	require.Equal(t, ctx, fn.ctxs[0])
}

func TestRetrier_attemptsAreNumberedAndKeepTheHedge(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var hooked []thole.Attempt
		r := retry.New(retry.Config{OnRetry: func(_ context.Context, next thole.Attempt, err error, d time.Duration) {
			assert.Equal(t, errBoom, err)
			hooked = append(hooked, next)
		}})
		fn := newScript(errBoom, errBoom, nil)
		type key int
		ctx := context.WithValue(t.Context(), key(1), "v")
		require.NoError(t, r.Do(thole.WithAttempt(ctx, thole.Attempt{Hedge: 4}), fn.run))
		require.Equal(t, []thole.Attempt{{Number: 0, Hedge: 4}, {Number: 1, Hedge: 4}, {Number: 2, Hedge: 4}}, fn.seen)
		require.Equal(t, fn.seen[1:], hooked)
		for _, c := range fn.ctxs {
			require.Equal(t, "v", c.Value(key(1)))
		}
	})
}

func TestRetrier_whatIsNotRetriedComesBackAsItIs(t *testing.T) {
	inner := fmt.Errorf("declined: %w", errBoom)
	rows := map[string]struct {
		err error
		ctx func(context.Context) context.Context
		cfg retry.Config
	}{
		"answer":            {err: thole.Answer(sql.ErrNoRows)},
		"wrapped answer":    {err: fmt.Errorf("x: %w", thole.Answer(sql.ErrNoRows))},
		"permanent":         {err: thole.Permanent(errBoom)},
		"wrapped permanent": {err: fmt.Errorf("x: %w", thole.Permanent(errBoom))},
		"backoff permanent": {err: fmt.Errorf("x: %w", backoff.Permanent(errBoom))},
		"once":              {err: errBoom, ctx: thole.Once},
		"once, told":        {err: &told{after: time.Second, outcome: thole.Failure}, ctx: thole.Once},
		"ignored":           {err: &told{outcome: thole.Ignored}},
		"rejection":         {err: thole.Rejection(thole.ReasonFull, "full")},
		"bare rejection":    {err: thole.ErrRejected},
		"wrapped rejection": {err: fmt.Errorf("x: %w", thole.Rejection(thole.ReasonFull, "full"))},
		"RetryIf declines":  {err: inner, cfg: retry.Config{RetryIf: func(err error) bool { return err != inner }}},
		"RetryIf cannot widen": {err: thole.Permanent(errBoom),
			cfg: retry.Config{RetryIf: func(err error) bool { return true }}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx := t.Context()
				if row.ctx != nil {
					ctx = row.ctx(ctx)
				}
				fn := newScript(row.err)
				r := retry.New(row.cfg)
				require.Equal(t, row.err, r.Do(ctx, fn.run))
				require.Equal(t, 1, fn.runs())
				require.Zero(t, time.Since(fn.start))
				require.Equal(t, retry.Stats{Calls: 1}, r.Stats())
			})
		})
	}
}

func TestRetrier_retryIfIsAskedOnlyOfWhatWouldBeRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var asked []error
		r := retry.New(retry.Config{RetryIf: func(err error) bool { asked = append(asked, err); return true }})
		require.NoError(t, r.Do(t.Context(), newScript(errBoom, nil).run))
		_ = r.Do(t.Context(), newScript(thole.Permanent(errBoom)).run)
		require.Equal(t, []error{errBoom}, asked)
	})
}

func TestRetrier_contextEndedInTheRunIsNotRetried(t *testing.T) {
	for _, err := range []error{errBoom, context.Canceled, fmt.Errorf("x: %w", context.Canceled)} {
		ctx, cancel := context.WithCancel(t.Context())
		runs := 0
		got := retry.New(retry.Config{}).Do(ctx, func(context.Context) error { runs++; cancel(); return err })
		require.Equal(t, err, got)
		require.Equal(t, 1, runs)
	}
}

func TestRetrier_aCancellationThatIsNotTheCallersIsRetried(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := newScript(context.Canceled, context.DeadlineExceeded, nil)
		require.NoError(t, retry.New(retry.Config{}).Do(t.Context(), fn.run))
		require.Equal(t, 3, fn.runs())
	})
}

func TestRetrier_successIsKeptThoughTheContextEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		fn := newScript(errBoom, nil)
		require.NoError(t, retry.New(retry.Config{}).Do(ctx, func(ctx context.Context) error {
			err := fn.run(ctx)
			if err == nil {
				cancel()
			}
			return err
		}))
	})
}

func TestRetrier_anAnswerAfterARetryIsARecovery(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{})
		answer := thole.Answer(sql.ErrNoRows)
		require.Equal(t, answer, r.Do(t.Context(), newScript(errBoom, answer).run))
		require.Equal(t, retry.Stats{Calls: 1, Retries: 1, Recovered: 1}, r.Stats())
	})
}

func TestRetrier_endedContextRunsAndTakesNothing(t *testing.T) {
	budget := thole.NewBudget(thole.BudgetConfig{})
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(errBoom)
	fn := newScript(nil)
	r := retry.New(retry.Config{Budget: budget})
	require.Equal(t, context.Canceled, r.Do(ctx, fn.run))
	require.Zero(t, fn.runs())
	require.Zero(t, budget.Stats().Calls)
	require.Zero(t, r.Stats())
}

// What a discarded run left (a response, a permit) is released before the delay; what the
// returned run left, and what was there before the call, is not.
func TestRetrier_rewindsTheLifetimeBeforeTheDelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		released := map[string]time.Duration{}
		adopt := func(ctx context.Context, what string) {
			require.True(t, thole.LifetimeFrom(ctx).Adopt(func() { released[what] = time.Since(start) }))
		}
		ctx, life := thole.WithLifetime(t.Context())
		adopt(ctx, "before")
		r := retry.New(retry.Config{MaxAttempts: 2, Backoff: retry.Constant(time.Second),
			OnRetry: func(context.Context, thole.Attempt, error, time.Duration) {
				assert.Empty(t, released, "the hook may still look at the response")
			}})
		err := r.Do(ctx, func(ctx context.Context) error {
			if n := thole.AttemptFrom(ctx).Number; n == 0 {
				adopt(ctx, "first")
			} else {
				assert.Equal(t, map[string]time.Duration{"first": 0}, released)
				adopt(ctx, "last")
			}
			return errBoom
		})
		gaveUp(t, err, errBoom, 2)
		require.Equal(t, map[string]time.Duration{"first": 0}, released)
		life.End()
		require.Len(t, released, 3)
	})
}

func TestRetrier_reconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{MaxAttempts: 2, Backoff: retry.Constant(time.Second)})
		gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 2)

		require.Error(t, r.Reconfigure(retry.Config{Name: "no", MaxAttempts: -1}))
		require.Equal(t, "retry", r.String(), "a bad config changes nothing")
		gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 2)

		// A call in progress goes on as it began.
		err := r.Do(t.Context(), func(context.Context) error {
			require.NoError(t, r.Reconfigure(retry.Config{Name: "new", MaxAttempts: 4, Backoff: retry.Constant(0)}))
			return errBoom
		})
		gaveUp(t, err, errBoom, 2)
		gaveUp(t, r.Do(t.Context(), newScript(errBoom).run), errBoom, 4)
		require.Equal(t, "retry[new]", r.String())

		// Counts and the own budget are kept, and so are calls counted under another budget.
		require.NoError(t, r.Reconfigure(retry.Config{MaxAttempts: 1, Budget: thole.NoBudget}))
		_ = r.Do(t.Context(), newScript(errBoom).run)
		require.Equal(t, retry.Stats{Calls: 5, Retries: 6, Exhausted: 5}, r.Stats())
		require.NoError(t, r.Reconfigure(retry.Config{MaxAttempts: 100, Backoff: retry.Constant(0)}))
		fn := newScript(errBoom)
		require.ErrorIs(t, r.Do(t.Context(), fn.run), retry.ErrBudget)
		require.Less(t, fn.runs(), 10, "of ten tokens three stay spent")
	})
}

func TestRetrier_describe(t *testing.T) {
	r := retry.New(retry.Config{Name: "payments", MaxAttempts: 4, Backoff: retry.Exponential(time.Second, 3*time.Second)})
	d := r.Describe()
	require.Equal(t, "retry[payments]", d.String())
	require.Equal(t, r.String(), d.String())
	require.True(t, d.Blocking)
	require.Equal(t, 4, d.Runs)
	require.Equal(t, 6*time.Second, d.Pauses) // 1 + 2 + 3
	require.Equal(t, []thole.Setting{
		{Key: "MaxAttempts", Value: "4"}, {Key: "MaxElapsed", Value: "no bound"},
		{Key: "Backoff", Value: "exponential from 1s to 3s"}, {Key: "MaxRetryAfter", Value: "30s"},
		{Key: "Budget", Value: thole.NewBudget(thole.BudgetConfig{}).String() + " (own)"},
	}, d.Settings)

	d = retry.New(retry.Config{MaxAttempts: -7, MaxElapsed: time.Minute, Budget: thole.NoBudget}).Describe()
	require.Equal(t, -1, d.Runs)
	require.Equal(t, time.Minute, d.Pauses)
	require.Contains(t, d.Settings, thole.Setting{Key: "MaxAttempts", Value: "unlimited"})
	require.Contains(t, d.Settings, thole.Setting{Key: "Budget", Value: "none"})

	d = retry.New(retry.Config{}).Describe()
	require.Equal(t, 300*time.Millisecond, d.Pauses) // 100 + 200 ms
	require.Contains(t, d.Settings, thole.Setting{Key: "Backoff", Value: "full jitter from 100ms to 10s"})

	made := 0
	foreign := func() backoff.BackOff { made++; return &backoff.ZeroBackOff{} }
	d = retry.New(retry.Config{Backoff: foreign, MaxElapsed: time.Hour}).Describe()
	require.Equal(t, time.Hour, d.Pauses)
	require.Contains(t, d.Settings, thole.Setting{Key: "Backoff", Value: "custom"})
	d = retry.New(retry.Config{Backoff: foreign}).Describe()
	require.Equal(t, time.Duration(math.MaxInt64), d.Pauses, "nobody knows them")
	require.Zero(t, retry.New(retry.Config{Backoff: foreign, MaxAttempts: 1}).Describe().Pauses)
	require.Zero(t, retry.New(retry.Config{Backoff: foreign, MaxAttempts: 1, MaxElapsed: time.Hour}).Describe().Pauses)
	require.Zero(t, made, "a factory of the user's is called for retries only")
}
