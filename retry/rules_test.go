package retry_test

import (
	"context"
	"errors"
	"math"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
)

func TestRetrier_rule17_maxAttemptsCountsTheFirstCall(t *testing.T) {
	for attempts, runs := range map[int]int{0: 3, 1: 1, 2: 2, 7: 7} {
		synctest.Test(t, func(t *testing.T) {
			fn := newScript(errBoom)
			r := retry.New(retry.Config{MaxAttempts: attempts})
			err := r.Do(t.Context(), fn.run)
			gaveUp(t, err, errBoom, runs)
			require.ErrorIs(t, err, retry.ErrExhausted)
			require.Equal(t, runs, fn.runs())
			require.Equal(t, retry.Stats{Calls: 1, Retries: runs - 1, Exhausted: 1}, r.Stats())
		})
	}
}

func TestRetrier_rule17_unlimitedIsBoundedByTime(t *testing.T) {
	require.ErrorContains(t, retry.Config{MaxAttempts: -1}.Validate(), "MaxElapsed")
	synctest.Test(t, func(t *testing.T) {
		fn := newScript(errBoom)
		r := retry.New(retry.Config{MaxAttempts: -1, MaxElapsed: time.Minute, Backoff: retry.Constant(time.Second)})
		err := r.Do(t.Context(), fn.run)
		gaveUp(t, err, errBoom, 61)
		require.NotErrorIs(t, err, retry.ErrExhausted)
		require.Equal(t, time.Minute, fn.at[60])
	})
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		r := retry.New(retry.Config{MaxAttempts: -1, MaxElapsed: time.Minute, Backoff: retry.Constant(time.Second)})
		gaveUp(t, r.Do(ctx, newScript(errBoom).run), errBoom, 10) // at 0 … 9 s; one at 10 s would be too late
	})
}

func TestRetrier_rule18_noDelayAfterTheLastAttempt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		fn := newScript(errBoom)
		r := retry.New(retry.Config{Backoff: retry.Constant(time.Second)})
		gaveUp(t, r.Do(t.Context(), fn.run), errBoom, 3)
		require.Equal(t, []time.Duration{0, time.Second, 2 * time.Second}, fn.at)
		require.Equal(t, 2*time.Second, time.Since(fn.start))
	})
}

func TestRetrier_rule18_aDelayThatCannotFitGivesUpAtOnceWithTheLastError(t *testing.T) {
	rows := map[string]struct {
		deadline, maxElapsed, delay, after time.Duration
		attempts                           int
	}{
		"deadline":                     {deadline: 50 * time.Millisecond, delay: time.Second, attempts: 1},
		"deadline, exactly":            {deadline: time.Second, delay: time.Second, attempts: 1},
		"deadline, just fits":          {deadline: time.Second + 1, delay: time.Second, attempts: 2},
		"deadline, second delay":       {deadline: 1500 * time.Millisecond, delay: time.Second, attempts: 2},
		"max elapsed":                  {maxElapsed: 50 * time.Millisecond, delay: time.Second, attempts: 1},
		"max elapsed, exactly":         {maxElapsed: time.Second, delay: time.Second, attempts: 2},
		"max elapsed, just not":        {maxElapsed: time.Second - 1, delay: time.Second, attempts: 1},
		"the shorter counts":           {maxElapsed: time.Hour, deadline: time.Second, delay: time.Minute, attempts: 1},
		"the shorter counts, reversed": {maxElapsed: time.Second, deadline: time.Hour, delay: time.Minute, attempts: 1},
		"RetryAfter, deadline":         {deadline: time.Second, after: 2 * time.Second, attempts: 1},
		"RetryAfter, max elapsed":      {maxElapsed: time.Second, after: 2 * time.Second, attempts: 1},
		"RetryAfter fits, not a tenth": {maxElapsed: time.Second, after: time.Second, attempts: 2},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := thole.NewBudget(thole.BudgetConfig{})
				ctx := t.Context()
				if row.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.deadline)
					defer cancel()
				}
				last := &told{after: row.after, outcome: thole.Failure}
				fn := newScript(last)
				r := retry.New(retry.Config{MaxElapsed: row.maxElapsed, Backoff: retry.Constant(row.delay), Budget: budget})
				err := r.Do(ctx, fn.run)
				gaveUp(t, err, last, row.attempts)
				require.NotErrorIs(t, err, context.DeadlineExceeded)
				require.NotErrorIs(t, err, retry.ErrExhausted)
				require.Equal(t, fn.at[len(fn.at)-1], time.Since(fn.start), "no time is spent in vain")
				require.Equal(t, row.attempts-1, budget.Stats().Withdrawn, "and no token")
				require.Equal(t, 1, r.Stats().TooLate)
			})
		})
	}
}

// MaxElapsed counts from the start of the call, the first run included.
func TestRetrier_rule18_maxElapsedCountsTheRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{MaxElapsed: 10 * time.Second, Backoff: retry.Constant(0)})
		runs := 0
		err := r.Do(t.Context(), func(context.Context) error { runs++; time.Sleep(6 * time.Second); return errBoom })
		gaveUp(t, err, errBoom, 2)
		require.Equal(t, 2, runs)
	})
}

// Elapsed is what retrying took: the first run, which there is with and without, not included.
func TestRetrier_rule24_elapsedIsWhatRetryingAdded(t *testing.T) {
	for name, cfg := range map[string]retry.Config{
		"":                  {Backoff: retry.Constant(time.Second)},
		"with a MaxElapsed": {Backoff: retry.Constant(time.Second), MaxElapsed: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				err := retry.New(cfg).Do(t.Context(), func(context.Context) error { time.Sleep(6 * time.Second); return errBoom })
				require.Equal(t, 14*time.Second, gaveUp(t, err, errBoom, 3).Elapsed)
			})
		})
	}
}

func TestRetrier_rule20_waitsAtLeastWhatItIsTold(t *testing.T) {
	const huge = time.Duration(math.MaxInt64)
	rows := map[string]struct {
		after, schedule, max time.Duration
		least, most          time.Duration // of the delay; most 0: it gives up at once
	}{
		"longer than the schedule":  {after: 10 * time.Second, schedule: time.Second, least: 10 * time.Second, most: 11 * time.Second},
		"shorter than the schedule": {after: time.Second, schedule: 5 * time.Second, least: 5 * time.Second, most: 5 * time.Second},
		"at the default cap":        {after: 30 * time.Second, least: 30 * time.Second, most: 33 * time.Second},
		"over the default cap":      {after: 30*time.Second + 1},
		"at a cap":                  {after: time.Hour, max: time.Hour, least: time.Hour, most: 66 * time.Minute},
		"over a cap":                {after: 2 * time.Second, max: time.Second},
		"huge":                      {after: huge},
		"past":                      {after: -time.Hour, schedule: time.Second, least: time.Second, most: time.Second},
		"most negative":             {after: math.MinInt64, schedule: time.Second, least: time.Second, most: time.Second},
		"zero":                      {after: 0, schedule: time.Second, least: time.Second, most: time.Second},
		"1 ns":                      {after: 1, least: 1, most: 1},
		//lint:ignore SA4012 it is what this row is about
		"from NaN": {after: time.Duration(math.NaN() * float64(time.Second)), schedule: time.Second, least: time.Second, most: time.Second},
	}
	for name, row := range rows {
		for _, outcome := range []thole.Outcome{thole.Failure, thole.Ignored} { // Ignored: a 429
			t.Run(name+", "+outcome.String(), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					for range 20 { // the jitter is random
						last := &told{after: row.after, outcome: outcome, again: true}
						fn := newScript(last, nil)
						r := retry.New(retry.Config{MaxRetryAfter: row.max, Backoff: retry.Constant(row.schedule)})
						err := r.Do(t.Context(), fn.run)
						if row.most == 0 {
							gaveUp(t, err, last, 1)
							require.Zero(t, time.Since(fn.start))
							require.Equal(t, 1, r.Stats().TooLate)
							continue
						}
						require.NoError(t, err)
						require.GreaterOrEqual(t, fn.at[1], row.least)
						require.LessOrEqual(t, fn.at[1], row.most)
					}
				})
			})
		}
	}
}

func TestRetrier_rule20_theJitterSpreadsThoseWhoWereToldTheSame(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		seen := map[time.Duration]bool{}
		for range 100 {
			fn := newScript(&told{after: 10 * time.Second, outcome: thole.Failure}, nil)
			require.NoError(t, retry.New(retry.Config{}).Do(t.Context(), fn.run))
			seen[fn.at[1]] = true
		}
		require.Greater(t, len(seen), 95)
	})
}

// MaxElapsed counts from the beginning of the call, however old the retrier is.
func TestRetrier_rule18_maxElapsedCountsFromTheCall(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{MaxAttempts: 10, MaxElapsed: 3500 * time.Millisecond, Backoff: retry.Constant(time.Second), Budget: thole.NoBudget})
		for range 2 {
			time.Sleep(time.Hour)
			runs := 0
			_ = r.Do(t.Context(), func(context.Context) error { runs++; return errors.New("down") })
			require.Equal(t, 4, runs)
		}
	})
}

// What is further in shares the clock, and hears that time has passed in a delay.
func TestRetrier_theClockGoesOnInADelay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := retry.New(retry.Config{MaxAttempts: 4, Backoff: retry.Constant(time.Second), Budget: thole.NoBudget})
		limit := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Second)})
		runs := 0
		b := breaker.New(breaker.Config{}) // reads the clock at the end of a run
		err := thole.Chain(r, b, limit).Do(t.Context(), func(context.Context) error { runs++; return errors.New("down") })
		require.NotErrorIs(t, err, thole.ErrRejected)
		require.Equal(t, 4, runs)
	})
}

// gate is a stand-in for a circuit breaker: it opens at the first failure.
type gate struct {
	openFor time.Duration
	until   time.Time
	asked   []time.Time
	silent  bool // its rejection tells no time
}

var errSilent = thole.Rejection(thole.ReasonOpen, "gate: open")

func (g *gate) Do(ctx context.Context, fn func(context.Context) error) error {
	g.asked = append(g.asked, time.Now())
	if time.Now().Before(g.until) {
		if g.silent {
			return errSilent
		}
		return &refusal{g.until}
	}
	err := fn(ctx)
	if err != nil {
		g.until = time.Now().Add(g.openFor)
	}
	return err
}

func TestRetrier_rule21_anOpenBreakerInsideIsNotSpunUpon(t *testing.T) {
	rows := map[string]struct {
		gate     gate
		deadline time.Duration
		max      time.Duration
		healed   bool // the call succeeds after the wait
	}{
		"waits its RetryAfter":      {gate: gate{openFor: 5 * time.Second}, healed: true},
		"no time told":              {gate: gate{openFor: 5 * time.Second, silent: true}},
		"does not fit the deadline": {gate: gate{openFor: 5 * time.Second}, deadline: 3 * time.Second},
		"leaves as much time":       {gate: gate{openFor: 5 * time.Second}, deadline: 11 * time.Second, healed: true},
		"leaves less than it takes": {gate: gate{openFor: 5 * time.Second}, deadline: 9 * time.Second},
		"over MaxRetryAfter":        {gate: gate{openFor: 5 * time.Second}, max: time.Second},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				budget := thole.NewBudget(thole.BudgetConfig{})
				r := retry.New(retry.Config{MaxAttempts: 10, Backoff: retry.Constant(time.Millisecond),
					MaxRetryAfter: row.max, Budget: budget})
				ctx := t.Context()
				if row.deadline > 0 {
					var cancel context.CancelFunc
					ctx, cancel = context.WithTimeout(ctx, row.deadline)
					defer cancel()
				}
				fn := newScript(errBoom, nil)
				breaker := row.gate
				err := r.Do(ctx, func(ctx context.Context) error { return breaker.Do(ctx, fn.run) })
				if row.healed {
					require.NoError(t, err)
					require.Len(t, breaker.asked, 3) // fails, is refused, waits
					require.GreaterOrEqual(t, fn.at[1], 5*time.Second)
					require.LessOrEqual(t, fn.at[1], 5500*time.Millisecond)
					return
				}
				e := gaveUp(t, err, errBoom, 2)
				require.NotErrorIs(t, err, thole.ErrRejected, "fn ran")
				require.NotErrorIs(t, err, retry.ErrExhausted)
				require.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))
				require.ErrorContains(t, e, ": boom")
				require.Len(t, breaker.asked, 2)
				require.Equal(t, time.Millisecond, time.Since(fn.start))
				require.Equal(t, 1, budget.Stats().Withdrawn)
			})
		})
	}
}

// A rejection comes back as it is, and still says that fn did not run, if that is so. After a
// run that failed the error says both: what the run met, and what kept it from being mended.
func TestRetrier_rule21_aRejectionAfterAFailureHidesNeither(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		refused := &refusal{time.Now().Add(time.Hour)}
		r := retry.New(retry.Config{MaxAttempts: 2, MaxRetryAfter: 2 * time.Hour})
		err := r.Do(t.Context(), newScript(errBoom, refused).run)
		gaveUp(t, err, errBoom, 2)
		require.ErrorIs(t, err, refused)
		require.NotErrorIs(t, err, thole.ErrRejected)
		after, ok := thole.RetryAfter(err)
		require.True(t, ok)
		require.Positive(t, after)
		var found *refusal
		require.ErrorAs(t, err, &found)

		require.Equal(t, error(refused), retry.New(retry.Config{MaxAttempts: 1}).Do(t.Context(), newScript(refused).run))

		budget := thole.NewBudget(thole.BudgetConfig{})
		for budget.Withdraw() {
		}
		r = retry.New(retry.Config{MaxRetryAfter: 2 * time.Hour, Budget: budget})
		require.Equal(t, error(refused), r.Do(t.Context(), newScript(refused).run))
		require.Equal(t, 1, r.Stats().OverBudget)
	})
}

// The time of a rejection is what is left of it when it is asked: 0, once a limiter's next token or
// a breaker's probe is due, and that is no reason to give up.
func TestRetrier_rule21_aRejectionWhoseTimeHasComeIsRetried(t *testing.T) {
	for _, since := range []time.Duration{0, time.Second} {
		synctest.Test(t, func(t *testing.T) {
			r := retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)})
			fn := newScript(&refusal{time.Now().Add(-since)}, nil)
			require.NoError(t, r.Do(t.Context(), fn.run))
			require.Equal(t, time.Millisecond, fn.at[1])
		})
	}
}

// Clause 4 of the contract: fn never ran, and a context ended the wait.
func TestRetrier_rule21_cancelledWhileItWaitsForAnOpenBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		time.AfterFunc(time.Second, cancel)
		err := retry.New(retry.Config{}).Do(ctx, newScript(&refusal{time.Now().Add(5 * time.Second)}).run)
		require.ErrorIs(t, err, thole.ErrRejected)
		require.ErrorIs(t, err, context.Canceled)
	})
}

// The same where fn had run before: then the call was not rejected, and the run's error counts.
func TestRetrier_rule21_cancelledWhileItWaitsForABreakerThatOpened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancelCause(t.Context())
		errStop := errors.New("stop")
		time.AfterFunc(time.Second, func() { cancel(errStop) })
		refused := &refusal{time.Now().Add(5 * time.Second)}
		r := retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)})
		err := r.Do(ctx, newScript(errBoom, refused).run)
		e := gaveUp(t, err, errBoom, 2)
		require.EqualError(t, e, "retry: 2 attempts, 1s of retrying, context canceled: stop: refused: boom")
		require.ErrorIs(t, err, context.Canceled)
		require.ErrorIs(t, err, errStop)
		require.ErrorIs(t, err, refused)
		var found *refusal
		require.ErrorAs(t, err, &found)
		require.Equal(t, 1, r.Stats().Interrupted)
	})
}

// A refused attempt is an attempt, and its retry costs a token: what ran out is told as ever.
func TestRetrier_rule24_whatRanOutIsToldOfARefusedRetryToo(t *testing.T) {
	rows := map[string]struct {
		attempts, tokens int
		is, isNot        error
		reason           thole.Reason
	}{
		"attempts":              {attempts: 2, tokens: 9, is: retry.ErrExhausted, isNot: retry.ErrBudget},
		"budget":                {attempts: 9, tokens: 1, is: retry.ErrBudget, isNot: retry.ErrExhausted, reason: thole.ReasonBudget},
		"neither, but the time": {attempts: 9, tokens: 9},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				refused := &refusal{time.Now().Add(time.Second)}
				if row.is == nil {
					refused.until = time.Now().Add(time.Hour)
				}
				budget := thole.NewBudget(thole.BudgetConfig{MinPerSecond: float64(row.tokens)})
				r := retry.New(retry.Config{MaxAttempts: row.attempts, Backoff: retry.Constant(time.Millisecond), Budget: budget})
				err := r.Do(t.Context(), newScript(errBoom, refused).run)
				e := gaveUp(t, err, errBoom, 2)
				require.ErrorIs(t, err, refused)
				require.Equal(t, row.reason, e.Reason())
				if row.is == nil {
					require.NotErrorIs(t, err, retry.ErrExhausted)
					require.NotErrorIs(t, err, retry.ErrBudget)
					return
				}
				require.ErrorIs(t, err, row.is)
				require.NotErrorIs(t, err, row.isNot)
			})
		})
	}
}

func TestRetrier_rule24_theErrorTellsAttemptsTimeAndLastError(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		first := errors.New("first")
		fn := newScript(first, errBoom)
		r := retry.New(retry.Config{Name: "payments", Backoff: retry.Constant(600 * time.Millisecond)})
		err := r.Do(t.Context(), fn.run)
		e := gaveUp(t, err, errBoom, 3)
		require.Equal(t, "payments", e.Name)
		require.Equal(t, 1200*time.Millisecond, e.Elapsed)
		require.Equal(t, errBoom, errors.Unwrap(err))
		require.NotErrorIs(t, err, first)
		require.EqualError(t, err, "retry[payments]: 3 attempts, 1.2s of retrying, attempts exhausted: boom")

		err = retry.New(retry.Config{MaxAttempts: 1}).Do(t.Context(), newScript(errBoom).run)
		require.EqualError(t, err, "retry: 1 attempt, attempts exhausted: boom")
	})
	require.Equal(t, "retry: 2 attempts, 1s of retrying, gave up: boom", (&retry.Error{Attempts: 2, Elapsed: time.Second, Err: errBoom}).Error())
	require.NotPanics(t, func() { _ = (&retry.Error{}).Error(); (&retry.Error{}).As(new(error)); (&retry.Error{}).Reason() })
}

func TestRetrier_rule24_theErrorShowsWhatTheLastOneTells(t *testing.T) {
	last := &told{after: time.Hour, outcome: thole.Failure}
	err := retry.New(retry.Config{}).Do(t.Context(), newScript(last).run)
	gaveUp(t, err, last, 1)
	after, ok := thole.RetryAfter(err)
	require.True(t, ok)
	require.Equal(t, time.Hour, after)
	_, ok = thole.ReasonOf(err)
	require.False(t, ok)
	require.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))

	err = retry.New(retry.Config{MaxAttempts: 1}).Do(t.Context(), newScript(&reasoned{}).run)
	reason, ok := thole.ReasonOf(err)
	require.True(t, ok)
	require.Equal(t, thole.ReasonTimeout, reason)
}

type reasoned struct{ told }

func (*reasoned) Reason() thole.Reason   { return thole.ReasonTimeout }
func (*reasoned) Outcome() thole.Outcome { return thole.Failure }

func TestRetrier_rule24_permanentIsUnwrappedForTheCaller(t *testing.T) {
	ctx := t.Context()
	r := retry.New(retry.Config{})
	for _, mark := range []func(error) error{thole.Permanent, backoff.Permanent} {
		runs := 0
		fn := func(context.Context) error { runs++; return mark(errBoom) }
		err := r.Do(ctx, fn)
		require.ErrorIs(t, err, errBoom)
		require.EqualError(t, err, "boom")
		require.True(t, thole.IsPermanent(err), "an outer retry must see it")
		require.False(t, thole.IsPermanent(thole.Unmark(err)))
		require.NotErrorIs(t, err, retry.ErrExhausted)

		outer := retry.New(retry.Config{})
		runs = 0
		require.ErrorIs(t, outer.Do(ctx, func(ctx context.Context) error { return r.Do(ctx, fn) }), errBoom)
		require.Equal(t, 1, runs)
	}
	require.Equal(t, errBoom, thole.Unmark(r.Do(ctx, newScript(thole.Permanent(errBoom)).run)))
	require.Equal(t, errBoom, thole.Unmark(r.Do(ctx, newScript(backoff.Permanent(errBoom)).run)))
	var p *backoff.PermanentError
	require.ErrorAs(t, r.Do(ctx, newScript(backoff.Permanent(errBoom)).run), &p)
}
