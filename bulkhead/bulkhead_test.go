package bulkhead_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

// ways are the ways to run a call under a bulkhead; they must mean the same.
var ways = map[string]func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error{
	"Do": (*bulkhead.Bulkhead).Do,
	"Pass": func(b *bulkhead.Bulkhead, ctx context.Context, fn func(context.Context) error) error {
		return thole.Pass(ctx, b, fn)
	},
	"Chain": func(b *bulkhead.Bulkhead, ctx context.Context, fn func(context.Context) error) error {
		return thole.Chain(b, bulkhead.New(bulkhead.Config{Limit: 1000})).Do(ctx, fn)
	},
}

func eachWay(t *testing.T, test func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error)) {
	for name, do := range ways {
		t.Run(name, func(t *testing.T) { test(t, do) })
	}
}

func TestBulkhead_holdsAPermitWhileFnRuns(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		b := bulkhead.New(bulkhead.Config{Limit: 2})
		type key struct{}
		ctx := context.WithValue(context.Background(), key{}, "value")
		err := do(b, ctx, func(ctx context.Context) error {
			assert.Equal(t, "value", ctx.Value(key{}))
			assert.Equal(t, 1, b.Stats().InUse)
			assert.True(t, b.InUse())
			return errBoom
		})
		require.Same(t, errBoom, err)
		requireWhole(t, b)
		require.NoError(t, do(b, ctx, nop))
		requireWhole(t, b)
	})
}

func TestBulkhead_successIsKeptThoughCtxEnded(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		b := bulkhead.New(bulkhead.Config{Limit: 1})
		ctx, cancel := context.WithCancel(context.Background())
		require.NoError(t, do(b, ctx, func(context.Context) error { cancel(); return nil }))
		requireWhole(t, b)
	})
}

func TestBulkhead_doneCtxRunsNothingAndTakesNothing(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		for name, b := range map[string]*bulkhead.Bulkhead{
			"free": bulkhead.New(bulkhead.Config{Limit: 1}),
			"full": func() *bulkhead.Bulkhead {
				b := bulkhead.New(bulkhead.Config{Limit: 1})
				hold(t, b)
				return b
			}(),
			"shadow": bulkhead.New(bulkhead.Config{Limit: 1, Shadow: true}),
		} {
			t.Run(name, func(t *testing.T) {
				before := b.Stats()
				ctx, cancel := context.WithCancelCause(context.Background())
				cancel(errBoom)
				require.Equal(t, context.Canceled, do(b, ctx, mustNotRun(t)))
				release, err := b.Acquire(ctx)
				require.Equal(t, context.Canceled, err)
				release()
				require.Equal(t, before, b.Stats())
			})
		}
	})
}

func TestBulkhead_fullErrorSaysWhoAndWhy(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 1})
		release := hold(t, b)
		err := do(b, context.Background(), mustNotRun(t))
		require.ErrorIs(t, err, bulkhead.ErrFull)
		require.ErrorIs(t, err, thole.ErrRejected)
		require.NotErrorIs(t, err, bulkhead.ErrWait)
		require.NotErrorIs(t, err, bulkhead.ErrWeight)
		var e *bulkhead.Error
		require.ErrorAs(t, err, &e)
		require.Equal(t, "db", e.Name)
		require.Equal(t, "bulkhead[db]: full", err.Error())
		reason, ok := thole.ReasonOf(err)
		require.True(t, ok)
		require.Equal(t, thole.ReasonFull, reason)
		_, ok = thole.RetryAfter(err)
		require.False(t, ok, "nobody knows when a permit comes free")
		require.Equal(t, thole.Ignored, thole.OutcomeOf(context.Background(), err))
		release()
		requireWhole(t, b)
	})
}

func TestBulkhead_sentinels(t *testing.T) {
	for reason, err := range map[thole.Reason]error{
		thole.ReasonFull:  bulkhead.ErrFull,
		thole.ReasonWait:  bulkhead.ErrWait,
		thole.ReasonBurst: bulkhead.ErrWeight,
	} {
		require.ErrorIs(t, err, thole.ErrRejected)
		got, _ := thole.ReasonOf(err)
		require.Equal(t, reason, got)
	}
}

func TestBulkhead_rule01_panicGoexitAndNilFnFreeThePermit(t *testing.T) {
	abort := map[string]func(context.Context) error{
		"panic":  func(context.Context) error { panic(errBoom) },
		"goexit": func(context.Context) error { runtime.Goexit(); return nil },
		"nil fn": nil,
	}
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		for name, fn := range abort {
			for _, waits := range []bool{false, true} {
				t.Run(name, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
						// Nothing is left to a lifetime either: its edge may never get to end it.
						ctx, _ := thole.WithLifetime(context.Background())
						release := func() {}
						if waits {
							release = hold(t, b)
						}
						var recovered any
						returned := false
						go func() {
							defer func() { recovered = recover() }()
							_ = do(b, ctx, fn)
							returned = true
						}()
						synctest.Wait()
						release()
						synctest.Wait()
						require.False(t, returned)
						if name == "panic" {
							require.Equal(t, errBoom, recovered)
						}
						requireWhole(t, b)
					})
				})
			}
		}
	})
}

func TestBulkhead_rule02_nothingIsLeftBehind(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: time.Hour})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	spin := func(n int) {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for range n {
					_ = b.Do(ctx, func(context.Context) error { runtime.Gosched(); return nil })
					short, cancel := context.WithTimeout(ctx, 10*time.Microsecond)
					_ = b.Do(short, func(context.Context) error { runtime.Gosched(); return nil })
					cancel()
				}
			})
		}
		wg.Wait()
	}
	measure := func() (goroutines int, objects uint64) {
		for range 3 {
			runtime.GC()
		}
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return runtime.NumGoroutine(), m.HeapObjects
	}
	spin(100)
	goroutines, objects := measure()
	spin(2000)
	left, after := measure()
	for range 1000 { // a context's timer may still be at work
		if left <= goroutines {
			break
		}
		runtime.Gosched()
		left, after = measure()
	}
	require.LessOrEqual(t, left, goroutines)
	require.Less(t, after, objects+2000, "heap objects after 32,000 calls more")
	require.NotZero(t, b.Stats().Queued)
	requireWhole(t, b)
}

func TestBulkhead_rule02_noTimerOutlivesTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1, MaxWait: time.Hour})
		release := hold(t, b)
		c := start(t.Context(), b, 1)
		time.Sleep(time.Minute)
		release()
		c.requireAdmitted(t)
		c.release()
		// A timer left over from the wait above would cut this one short.
		release = hold(t, b)
		c = start(t.Context(), b, 1)
		time.Sleep(time.Hour - 1)
		c.requireWaiting(t)
		time.Sleep(1)
		c.requireError(t, bulkhead.ErrWait)
		release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule04_oneInstanceInManyChains(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 2})
	policies := []thole.Policy{b, nil}
	first := thole.Chain(policies...)
	policies[1] = bulkhead.New(bulkhead.Config{Limit: 5})
	second := thole.Chain(policies...)
	err := first.Do(context.Background(), func(ctx context.Context) error {
		return second.Do(ctx, func(ctx context.Context) error {
			assert.Equal(t, 2, b.Stats().InUse)
			_, err := thole.Do(ctx, b, func(context.Context) (string, error) { return "", nil })
			return err
		})
	})
	require.ErrorIs(t, err, bulkhead.ErrFull)
	requireWhole(t, b)
}

// Nor does it keep anything of a bubble whose calls gave up while somebody outside waited.
func TestBulkhead_rule07_usedInABubbleWhileSomebodyWaitsOutside(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
	release := hold(t, b)
	done := make(chan error)
	go func() { done <- b.Do(context.Background(), nop) }()
	for b.Stats().Waiting == 0 {
		runtime.Gosched()
	}
	giveUp := func(t *testing.T) {
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		require.ErrorIs(t, b.Do(ctx, nop), context.DeadlineExceeded)
	}
	synctest.Test(t, giveUp)
	giveUp(t)
	synctest.Test(t, giveUp)
	release()
	require.NoError(t, <-done)
}

// A bulkhead in a package variable is used by one test's bubble after the other, and outside
// of any: what it keeps must belong to none of them.
func TestBulkhead_rule07_usedInsideAndOutsideBubbles(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	use := func(t *testing.T) {
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, MaxWaiting: 4, MaxWait: 100 * time.Millisecond}))
		release := hold(t, b)
		began := time.Now()
		_, err := b.Acquire(context.Background())
		require.ErrorIs(t, err, bulkhead.ErrWait)
		require.GreaterOrEqual(t, time.Since(began), 100*time.Millisecond)
		// On a busy machine even a short sleep can last for 100 ms.
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, MaxWaiting: 4, MaxWait: time.Hour}))
		done := make(chan error)
		go func() { done <- b.Do(context.Background(), nop) }()
		for b.Stats().Waiting == 0 {
			time.Sleep(time.Millisecond)
		}
		release()
		require.NoError(t, <-done)
		requireWhole(t, b)
	}
	for range 2 {
		use(t)
		synctest.Test(t, use)
	}
}

func TestBulkhead_rule25_neverMoreThanLimitInside(t *testing.T) {
	const limit = 3
	b := bulkhead.New(bulkhead.Config{Limit: limit, MaxWaiting: -1})
	var inside, most atomic.Int64
	var wg sync.WaitGroup
	for range 32 {
		wg.Go(func() {
			for range 500 {
				err := b.Do(context.Background(), func(context.Context) error {
					now := inside.Add(1)
					for m := most.Load(); now > m && !most.CompareAndSwap(m, now); m = most.Load() {
					}
					runtime.Gosched()
					inside.Add(-1)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	wg.Wait()
	require.LessOrEqual(t, most.Load(), int64(limit))
	requireWhole(t, b)
}

func TestBulkhead_rule25_limitIsExactWithoutAQueue(t *testing.T) {
	for _, limit := range []int{1, 2, 7, 100} {
		b := bulkhead.New(bulkhead.Config{Limit: limit})
		var releases []func()
		for range limit {
			releases = append(releases, hold(t, b))
		}
		_, ok := b.TryAcquire()
		require.False(t, ok)
		_, err := b.Acquire(context.Background())
		require.ErrorIs(t, err, bulkhead.ErrFull)
		for _, release := range releases {
			release()
			hold(t, b)()
		}
		requireWhole(t, b)
	}
}

func TestBulkhead_rule26_releaseTwiceIsCountedAndChangesNothing(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 2})
	first, err := b.Acquire(context.Background())
	require.NoError(t, err)
	second := hold(t, b)
	first()
	first()
	first()
	require.Equal(t, 2, b.Stats().ReleasedTwice)
	require.Equal(t, 1, b.Stats().InUse)
	third := hold(t, b)
	_, ok := b.TryAcquire()
	require.False(t, ok, "a double release made room")
	second()
	third()
	requireWhole(t, b)
}

func TestBulkhead_rule26_releaseByManyGoroutinesCountsOnce(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 8})
	for range 200 {
		release, err := b.AcquireN(context.Background(), 3)
		require.NoError(t, err)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(release)
		}
		wg.Wait()
		require.Zero(t, b.Stats().InUse)
	}
	require.Equal(t, 600, b.Stats().ReleasedTwice)
	requireWhole(t, b)
}

func TestBulkhead_lifetimeKeepsThePermit(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		for _, result := range []error{nil, errBoom} {
			b := bulkhead.New(bulkhead.Config{Limit: 1})
			ctx, lifetime := thole.WithLifetime(context.Background())
			err := do(b, ctx, func(context.Context) error { return result })
			require.True(t, errors.Is(err, result))
			require.Equal(t, 1, b.Stats().InUse, "until the body is closed")
			require.ErrorIs(t, do(b, context.Background(), mustNotRun(t)), bulkhead.ErrFull)
			lifetime.End()
			lifetime.End()
			requireWhole(t, b)
		}
	})
}

func TestBulkhead_endedLifetimeKeepsNothing(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	ctx, lifetime := thole.WithLifetime(context.Background())
	require.NoError(t, b.Do(ctx, func(context.Context) error { lifetime.End(); return nil }))
	requireWhole(t, b)
}

func TestBulkhead_endOfLifetimeHandsThePermitOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
		ctx, lifetime := thole.WithLifetime(context.Background())
		require.NoError(t, b.Do(ctx, nop))
		c := start(t.Context(), b, 1)
		c.requireWaiting(t)
		lifetime.End()
		c.requireAdmitted(t)
		c.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_shadowLetsThroughAndCounts(t *testing.T) {
	eachWay(t, func(t *testing.T, do func(*bulkhead.Bulkhead, context.Context, func(context.Context) error) error) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 5, Shadow: true})
		ctx, lifetime := thole.WithLifetime(context.Background())
		err := do(b, context.Background(), func(context.Context) error {
			require.Equal(t, 0, b.Stats().Shadowed)
			return do(b, ctx, func(context.Context) error {
				require.Equal(t, 1, b.Stats().Shadowed)
				require.Equal(t, 1, b.Stats().InUse, "a surplus call holds no permit")
				return errBoom
			})
		})
		require.ErrorIs(t, err, errBoom)
		requireShadowIdle(t, b)
		lifetime.End()
		requireShadowIdle(t, b)

		release := hold(t, b)
		surplus, ok := b.TryAcquire()
		require.True(t, ok)
		heavy, err := b.AcquireN(context.Background(), 10)
		require.NoError(t, err)
		require.Equal(t, 3, b.Stats().Shadowed)
		surplus()
		surplus()
		heavy()
		require.Equal(t, 1, b.Stats().InUse)
		require.Zero(t, b.Stats().ReleasedTwice)
		release()
		requireShadowIdle(t, b)
	})
}

func requireShadowIdle(t *testing.T, b *bulkhead.Bulkhead) {
	t.Helper()
	require.False(t, b.InUse())
	require.Zero(t, b.Stats().InUse)
}
