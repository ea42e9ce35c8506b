package hedge_test

import (
	"context"
	"errors"
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

func TestHedge_describesItself(t *testing.T) {
	d := hedge.New(hedge.Config{Name: "test"}).Describe()
	assert.Equal(t, "hedge[test]", d.String())
	assert.False(t, d.Blocking)
	assert.Equal(t, 2, d.Runs)
	assert.Equal(t, []thole.Setting{{Key: "Delay", Value: "0s"}, {Key: "Quantile", Value: "0.95"}, {Key: "MaxHedges", Value: "1"},
		{Key: "Budget", Value: "own, ratio 0.05, at least 1 a second"}}, d.Settings)
	assert.Equal(t, "hedge", hedge.New(hedge.Config{Budget: thole.NoBudget}).String())
}
