package hedge_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/retry"
)

// An attempt that ignores its context may succeed long after its hedge has given it up. That
// success is nobody's: it once claimed the call, and the next attempt of a policy further out,
// which succeeded in time, was told context.Canceled.
func TestHedge_aSuccessAfterItWasGivenUpDoesNotClaimTheCall(t *testing.T) {
	const ms = time.Millisecond
	for name, late := range map[string]time.Duration{"before the next attempt": 3 * ms, "during it": 15 * ms, "after it": time.Second} {
		for where, around := range map[string]thole.Policy{"": nil, ", within a hedge": hedge.New(hedge.Config{Delay: time.Hour})} {
			aSuccessAfterItWasGivenUp(t, name+where, around, late)
		}
	}
}

func aSuccessAfterItWasGivenUp(t *testing.T, name string, around thole.Policy, late time.Duration) {
	const ms = time.Millisecond
	t.Run(name, func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			h := hedge.New(hedge.Config{Delay: time.Hour})
			again := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
				limited, cancel := context.WithTimeout(ctx, ms)
				defer cancel()
				err := h.Do(limited, fn)
				require.ErrorIs(t, err, context.DeadlineExceeded)
				time.Sleep(5 * ms)
				return h.Do(ctx, fn)
			})
			var runs atomic.Int32
			v, err := thole.Do(t.Context(), thole.Chain(around, again), func(context.Context) (string, error) {
				if runs.Add(1) == 1 {
					time.Sleep(late)
					return "late", nil
				}
				time.Sleep(20 * ms)
				return "in time", nil
			})
			require.NoError(t, err)
			require.Equal(t, "in time", v)
			time.Sleep(time.Hour)
		})
	})
}

// slowToTell returns a policy that hears of a success at once and tells it later, as does a
// goroutine that loses the processor in between.
func slowToTell(d time.Duration, told error) thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		err := fn(ctx)
		if err != nil {
			return err
		}
		time.Sleep(d)
		return told
	})
}

// A success that has claimed the call before the hedge gives up is one, however late the hedge
// hears of it: it once was dropped, and the next attempt of a policy further out was told
// context.Canceled though it succeeded.
func TestHedge_rule02_aSuccessThatClaimedTheCallIsNotDropped(t *testing.T) {
	const ms = time.Millisecond
	for name, hedges := range map[string]time.Duration{"alone": time.Hour, "beside a hedge that hangs": ms / 4} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Config{Delay: hedges, Budget: thole.NoBudget})
				limited, cancel := context.WithTimeout(t.Context(), ms)
				defer cancel()
				begin := time.Now()
				v, err := thole.Do(limited, thole.Chain(h, slowToTell(10*ms, nil)), func(ctx context.Context) (string, error) {
					if thole.AttemptFrom(ctx).Hedge > 0 {
						time.Sleep(time.Hour)
					}
					time.Sleep(ms / 2)
					return "in time", nil
				})
				require.NoError(t, err)
				require.Equal(t, "in time", v)
				require.Equal(t, 10*ms+ms/2, time.Since(begin))
				time.Sleep(2 * time.Hour)
			})
		})
	}
}

// So is one after which another one within the same attempt of a hedge further out comes too late.
func TestHedge_rule02_aLateSuccessTakesNoAttemptItsClaim(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		outer := hedge.New(hedge.Config{Delay: time.Hour})
		inner := hedge.New(hedge.Config{Delay: ms, Budget: thole.NoBudget})
		ctx, cancel := context.WithTimeout(t.Context(), 5*ms)
		defer cancel()
		p := thole.Chain(outer, slowToTell(10*ms, nil), inner, slowToTell(3*ms, nil))
		v, err := thole.Do(ctx, p, func(context.Context) (string, error) {
			time.Sleep(2 * ms) // the second ends after the first has claimed the call, before it is told
			return "in time", nil
		})
		require.NoError(t, err)
		require.Equal(t, "in time", v)
		time.Sleep(time.Hour)
	})
}

// What succeeded and was made a failure on the way is one, of a call that was given up.
func TestHedge_aClaimedSuccessThatFailsOnTheWay(t *testing.T) {
	const ms = time.Millisecond
	for name, hedges := range map[string]time.Duration{"alone": time.Hour, "beside a hedge that hangs": ms / 4} {
		for what, told := range map[string]error{"failure": errors.New("boom"), "rejection": thole.Rejection(thole.ReasonShed, "shed")} {
			t.Run(name+"/"+what, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					h := hedge.New(hedge.Config{Delay: hedges, Budget: thole.NoBudget})
					limited, cancel := context.WithTimeout(t.Context(), ms)
					defer cancel()
					ctx, life := thole.WithLifetime(limited)
					defer life.End()
					begin := time.Now()
					v, err := thole.Do(ctx, thole.Chain(h, slowToTell(10*ms, told)), func(ctx context.Context) (string, error) {
						if thole.AttemptFrom(ctx).Hedge > 0 {
							time.Sleep(time.Hour)
						}
						time.Sleep(ms / 2)
						return "in time", nil
					})
					require.ErrorIs(t, err, context.DeadlineExceeded)
					require.ErrorIs(t, err, told)
					require.Zero(t, v)
					require.Equal(t, 10*ms+ms/2, time.Since(begin))
					time.Sleep(2 * time.Hour)
				})
			})
		}
	}
}

// A call made within an attempt is another call: its success says nothing of the attempt, whose
// hedge still lets its cancelled caller go. The success is one even if the attempt was given up.
func TestHedge_rule06_aCallWithinAnAttemptDoesNotClaimIt(t *testing.T) {
	const ms = time.Millisecond
	for name, inner := range map[string]thole.Policy{"no policy": nil, "another hedge": hedge.New(hedge.Config{Delay: time.Hour})} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				outer := hedge.New(hedge.Config{Delay: time.Hour})
				ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
				defer cancel()
				within := func(ctx context.Context) {
					v, err := thole.Do(ctx, inner, func(context.Context) (int, error) { return 1, nil })
					require.NoError(t, err)
					require.Equal(t, 1, v)
				}
				begin := time.Now()
				_, err := thole.Do(ctx, outer, func(ctx context.Context) (int, error) {
					within(ctx)
					time.Sleep(time.Second)
					within(context.WithoutCancel(ctx))
					return 0, errors.New("late")
				})
				require.ErrorIs(t, err, context.DeadlineExceeded)
				require.Less(t, time.Since(begin), 20*ms)
				time.Sleep(time.Hour)
			})
		})
	}
}

// The second of two successes is told context.Canceled before its context is cancelled. That is no
// failure, neither to a breaker nor to a retrier around it.
func TestHedge_aLateSuccessIsNoFailure(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		h := hedge.New(hedge.Config{Delay: ms})
		p := thole.Chain(h, slowToTell(10*ms, nil), retry.New(retry.Config{}), b)
		var runs atomic.Int32
		_, err := thole.Do(t.Context(), p, func(context.Context) (int, error) {
			runs.Add(1)
			time.Sleep(2 * ms) // the second ends after the first has claimed the call, before it is told
			return 1, nil
		})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.Equal(t, breaker.Closed, b.State())
		require.EqualValues(t, 2, runs.Load())
	})
}
