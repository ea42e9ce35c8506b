package timeout_test

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/timeout"
)

func TestTimeout_doneContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	policy := limit(time.Second)
	err := policy.Do(ctx, func(context.Context) error { panic("ran") })
	assert.Equal(t, context.Canceled, err)
	assert.Equal(t, timeout.Stats{}, policy.Stats())
}

func TestTimeout_rule01_panicAndGoexitRelease(t *testing.T) {
	for _, withLife := range []bool{false, true} {
		for name, leave := range map[string]func(){
			"panic":  func() { panic("boom") },
			"Goexit": runtime.Goexit,
			"nil fn": nil,
		} {
			t.Run(fmt.Sprintf("%s, lifetime %v", name, withLife), func(t *testing.T) {
				ctx := t.Context()
				if withLife {
					c, life := thole.WithLifetime(ctx)
					defer life.End()
					ctx = c
				}
				var leaked context.Context
				var recovered any
				var wg sync.WaitGroup
				wg.Go(func() {
					defer func() { recovered = recover() }()
					if leave == nil {
						_ = limit(time.Hour).Do(ctx, nil)
					}
					_ = limit(time.Hour).Do(ctx, func(ctx context.Context) error {
						leaked = ctx
						_ = ctx.Done()
						leave()
						return nil
					})
				})
				wg.Wait()
				switch name {
				case "panic":
					assert.Equal(t, "boom", recovered)
				case "nil fn":
					assert.Error(t, recovered.(error))
					return
				}
				assert.Equal(t, context.Canceled, leaked.Err())
			})
		}
	}
}

func TestTimeout_rule02_nothingIsLeftUnderALongLivedParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // a goroutine left over fails the bubble
		parent, cancel := context.WithCancel(context.Background())
		defer cancel()
		outer, inner := limit(time.Hour), limit(time.Minute)
		call := func(ctx context.Context) error {
			return outer.Do(ctx, func(ctx context.Context) error {
				return inner.Do(ctx, func(ctx context.Context) error {
					child, leaked := context.WithCancel(ctx)
					_, _ = child.Done(), leaked
					return nil
				})
			})
		}
		heap := func() uint64 {
			runtime.GC()
			runtime.GC()
			var m runtime.MemStats
			runtime.ReadMemStats(&m)
			return m.HeapObjects
		}
		require.NoError(t, call(parent))
		before := heap()
		for i := range 2000 {
			ctx := parent
			if i%2 == 0 {
				c, life := thole.WithLifetime(parent)
				require.NoError(t, call(c))
				life.End()
				continue
			}
			require.NoError(t, call(ctx))
		}
		assert.Less(t, int(heap())-int(before), 500)
	})
}

func TestTimeout_rule03_fnMayUseThePolicy(t *testing.T) {
	policy := limit(time.Second)
	require.NoError(t, policy.Do(t.Context(), func(ctx context.Context) error {
		assert.Equal(t, 1, policy.Stats().Calls)
		assert.Equal(t, "timeout[test]", policy.String())
		require.NoError(t, policy.Reconfigure(timeout.Config{Limit: time.Hour}))
		return policy.Do(ctx, func(context.Context) error { return nil })
	}))
}

func TestTimeout_rule04_oneInstanceInManyCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := limit(time.Second)
		var wg sync.WaitGroup
		for i := range 100 {
			wg.Go(func() {
				time.Sleep(time.Duration(i) * time.Millisecond)
				start := time.Now()
				err := policy.Do(t.Context(), wait)
				assert.ErrorIs(t, err, timeout.ErrTimeout)
				assert.Equal(t, time.Second, time.Since(start))
			})
		}
		wg.Wait()
		assert.Equal(t, timeout.Stats{Calls: 100, Timeouts: 100}, policy.Stats())
	})
}

func TestTimeout_rule05_badConfigIsRefused(t *testing.T) {
	for _, d := range []time.Duration{0, -1, 1<<63 - 1, -1 << 63} {
		cfg := timeout.Config{Limit: d}
		err := cfg.Validate()
		require.Error(t, err)
		assert.Contains(t, err.Error(), fmt.Sprintf("timeout: Limit is %v: want more than 0", d))
		assert.Panics(t, func() { timeout.New(cfg) })

		policy := limit(time.Second)
		require.Error(t, policy.Reconfigure(cfg))
		assert.Equal(t, time.Second, policy.Describe().Limit, "the old one stays")
	}
}

func TestTimeout_rule06_callersCancelIsPrompt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		start := time.Now()
		assert.Equal(t, context.Canceled, limit(time.Hour).Do(ctx, wait))
		assert.Equal(t, time.Second, time.Since(start))
	})
}

// A deadline with a monotonic reading does not care what becomes of the wall clock.
func TestTimeout_rule07_deadlineIsMonotonic(t *testing.T) {
	require.NoError(t, limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
		deadline, _ := ctx.Deadline()
		assert.True(t, strings.Contains(deadline.String(), " m="), deadline)
		return nil
	}))
}

func TestTimeout_reconfigureIsForCallsToCome(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		policy := limit(time.Second)
		err := policy.Do(t.Context(), func(ctx context.Context) error {
			require.NoError(t, policy.Reconfigure(timeout.Config{Name: "new", Limit: time.Minute}))
			return wait(ctx)
		})
		assert.EqualError(t, err, "timeout[test]: 1s exceeded")
		assert.EqualError(t, policy.Do(t.Context(), wait), "timeout[new]: 1m0s exceeded")
	})
}

func TestTimeout_describesItself(t *testing.T) {
	assert.Equal(t, thole.Description{
		Kind: "timeout", Name: "test", Limit: time.Second, Blocking: true,
		Settings: []thole.Setting{{Key: "Limit", Value: "1s"}},
	}, limit(time.Second).Describe())
	assert.Equal(t, "timeout", timeout.New(timeout.Config{Limit: 1}).String())
	assert.EqualError(t, &timeout.Error{Limit: time.Second}, "timeout: 1s exceeded")
}

// A composed deadline never is later than the caller's, and fn's late nil never is lost.
func FuzzConfig(f *testing.F) {
	f.Add(int64(0))
	f.Add(int64(-1))
	f.Add(int64(time.Second))
	f.Add(int64(100 * 365 * 24 * time.Hour))
	f.Add(int64(1<<63 - 1))
	f.Fuzz(func(t *testing.T, n int64) {
		cfg := timeout.Config{Limit: time.Duration(n)}
		if cfg.Validate() != nil {
			assert.Panics(t, func() { timeout.New(cfg) })
			return
		}
		require.Positive(t, n)
		assert.NoError(t, timeout.New(cfg).Do(t.Context(), func(ctx context.Context) error {
			deadline, ok := ctx.Deadline()
			require.True(t, ok)
			require.LessOrEqual(t, time.Until(deadline), time.Duration(n))
			require.Greater(t, time.Until(deadline), time.Duration(n)-time.Minute)
			return nil
		}))
	})
}
