package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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

var errBoom = errors.New("boom")

func limit(d time.Duration) *timeout.Timeout {
	return timeout.New(timeout.Config{Name: "test", Limit: d})
}

// wait returns ctx.Err() once ctx is done.
func wait(ctx context.Context) error {
	<-ctx.Done()
	return ctx.Err()
}

func TestTimeout_rule33_deadlineAndCauseAreVisible(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		err := limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
			deadline, ok := ctx.Deadline()
			assert.True(t, ok)
			assert.Equal(t, time.Second, deadline.Sub(start))
			child, cancel := context.WithCancel(context.WithValue(ctx, "k", "v")) //nolint:staticcheck // a test
			defer cancel()
			ran := make(chan struct{})
			context.AfterFunc(child, func() { close(ran) })
			<-child.Done()
			<-ran
			for _, c := range []context.Context{ctx, child} {
				assert.Equal(t, context.DeadlineExceeded, c.Err())
				cause := context.Cause(c)
				assert.EqualError(t, cause, "timeout[test]: 1s exceeded")
				assert.ErrorIs(t, cause, timeout.ErrTimeout)
			}
			return child.Err()
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		assert.Equal(t, time.Second, time.Since(start))
	})
}

func TestTimeout_rule33_unwatchedContextExpiresToo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
			time.Sleep(time.Second)
			assert.EqualError(t, context.Cause(ctx), "timeout[test]: 1s exceeded")
			return ctx.Err()
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
	})
}

func TestTimeout_rule33_contextIsCancelledAfterReturn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, watched := range []bool{false, true} {
			var leaked context.Context
			require.NoError(t, limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
				if leaked = ctx; watched {
					_ = ctx.Done()
				}
				return nil
			}))
			assert.Equal(t, context.Canceled, leaked.Err())
			<-leaked.Done()
			assert.Equal(t, context.Canceled, context.Cause(leaked))
			time.Sleep(2 * time.Second)
			assert.Equal(t, context.Canceled, leaked.Err())
		}
	})
}

func TestTimeout_rule34_errorSaysWhatHappened(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
			return fmt.Errorf("reading: %w (%w)", wait(ctx), errBoom)
		})
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "test", e.Name)
		assert.Equal(t, time.Second, e.Limit)
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.ErrorIs(t, err, errBoom)
		assert.NotErrorIs(t, err, thole.ErrRejected)
		assert.EqualError(t, err, "timeout[test]: 1s exceeded: reading: context deadline exceeded (boom)")

		var n net.Error
		require.ErrorAs(t, err, &n)
		assert.True(t, n.Timeout())
		assert.True(t, err.(interface{ Temporary() bool }).Temporary())
		reason, _ := thole.ReasonOf(err)
		assert.Equal(t, thole.ReasonTimeout, reason)
		assert.Equal(t, thole.Failure, thole.OutcomeOf(t.Context(), err))
	})
}

func TestTimeout_rule34_whatCountsAsTimeout(t *testing.T) {
	foreignWrap := &fs.PathError{Op: "read", Path: "x", Err: context.DeadlineExceeded}
	for _, row := range []struct {
		name  string
		fn    func(context.Context) error
		ours  bool
		exact error // what Do returns, if not ours
	}{
		{"late success", func(ctx context.Context) error { _ = wait(ctx); return nil }, false, nil},
		{"late success, unwatched", func(context.Context) error { time.Sleep(time.Minute); return nil }, false, nil},
		{"unrelated error, late", func(ctx context.Context) error { _ = wait(ctx); return errBoom }, false, errBoom},
		{"unrelated error, in time", func(context.Context) error { return errBoom }, false, errBoom},
		{"context error, in time", func(context.Context) error { return foreignWrap }, false, foreignWrap},
		{"wrapped context error", func(ctx context.Context) error { _ = wait(ctx); return foreignWrap }, true, nil},
		{"joined", func(ctx context.Context) error { return errors.Join(errBoom, wait(ctx)) }, true, nil},
		{"cause", func(ctx context.Context) error { _ = wait(ctx); return context.Cause(ctx) }, true, nil},
		{"wrapped cause", func(ctx context.Context) error { _ = wait(ctx); return fmt.Errorf("x: %w", context.Cause(ctx)) }, true, nil},
		{"cancelled child", func(ctx context.Context) error { _ = wait(ctx); return context.Canceled }, true, nil},
		{"by the clock alone", func(ctx context.Context) error {
			time.Sleep(time.Second)
			return context.DeadlineExceeded
		}, true, nil},
		{"an Is method", func(ctx context.Context) error { _ = wait(ctx); return isDeadline{} }, true, nil},
		{"permanent", func(ctx context.Context) error { return thole.Permanent(wait(ctx)) }, true, nil},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				policy := limit(time.Second)
				var last error
				err := policy.Do(t.Context(), func(ctx context.Context) error {
					last = row.fn(ctx)
					return last
				})
				if row.ours {
					assert.ErrorIs(t, err, timeout.ErrTimeout)
					assert.ErrorIs(t, err, context.DeadlineExceeded)
					assert.ErrorIs(t, err, last)
					assert.Equal(t, 1, policy.Stats().Timeouts)
				} else {
					assert.Equal(t, row.exact, err)
					assert.Equal(t, 0, policy.Stats().Timeouts)
				}
			})
		})
	}
}

type isDeadline struct{}

func (isDeadline) Error() string        { return "i/o timeout" }
func (isDeadline) Is(target error) bool { return target == context.DeadlineExceeded }

func TestTimeout_rule34_answerStaysAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
			return thole.Answer(wait(ctx))
		})
		assert.NotErrorIs(t, err, timeout.ErrTimeout)
		assert.Equal(t, thole.Success, thole.OutcomeOf(t.Context(), err))
	})
}

func TestTimeout_rule34_callersDeadlineIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, sooner := range []time.Duration{time.Second, time.Millisecond} {
			parent, cancel := context.WithTimeoutCause(t.Context(), sooner, errBoom)
			err := limit(time.Second).Do(parent, func(ctx context.Context) error {
				assert.Equal(t, parent, ctx, "the caller's own context is good enough")
				_ = wait(ctx)
				assert.Equal(t, errBoom, context.Cause(ctx))
				return ctx.Err()
			})
			assert.Equal(t, context.DeadlineExceeded, err)
			cancel()
		}
	})
}

func TestTimeout_rule34_callersCancelIsTheCallers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithCancelCause(t.Context())
		time.AfterFunc(time.Millisecond, func() { cancel(errBoom) })
		err := limit(time.Second).Do(parent, func(ctx context.Context) error {
			err := wait(ctx)
			assert.Equal(t, errBoom, context.Cause(ctx))
			time.Sleep(time.Hour)
			return err
		})
		assert.Equal(t, context.Canceled, err)
	})
}

func TestTimeout_rule35_onlyTheInnerReports(t *testing.T) {
	for name, fn := range map[string]func(context.Context) error{
		"cooperative": wait,
		"returns the cause": func(ctx context.Context) error {
			_ = wait(ctx)
			return context.Cause(ctx)
		},
		"late, when both have passed": func(ctx context.Context) error {
			err := wait(ctx)
			time.Sleep(time.Minute)
			return err
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				inner := timeout.New(timeout.Config{Name: "inner", Limit: time.Second})
				outer := timeout.New(timeout.Config{Name: "outer", Limit: 2 * time.Second})
				err := outer.Do(t.Context(), func(ctx context.Context) error {
					return inner.Do(ctx, fn)
				})
				var e *timeout.Error
				require.ErrorAs(t, err, &e)
				assert.Equal(t, "inner", e.Name)
				assert.NotContains(t, err.Error(), "outer")
				assert.Equal(t, 0, outer.Stats().Timeouts)
			})
		})
	}
}

// The outer limit strikes while something between the two still wants to go on: then the
// inner timeout is history, and the outer one is the reason.
func TestTimeout_rule35_outerReportsWhatItEnded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		inner := timeout.New(timeout.Config{Name: "inner", Limit: time.Second})
		outer := timeout.New(timeout.Config{Name: "outer", Limit: 2 * time.Second})
		err := outer.Do(t.Context(), func(ctx context.Context) error {
			last := inner.Do(ctx, wait)
			return errors.Join(last, wait(ctx)) // a retry's delay, cut short
		})
		var e *timeout.Error
		require.ErrorAs(t, err, &e)
		assert.Equal(t, "outer", e.Name)
		assert.Contains(t, err.Error(), "timeout[inner]")
	})
}

func TestTimeout_rule35_longerInnerLeavesItToTheOuter(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer := timeout.New(timeout.Config{Name: "outer", Limit: time.Second})
		err := outer.Do(t.Context(), func(ctx context.Context) error {
			return limit(time.Minute).Do(ctx, wait)
		})
		assert.EqualError(t, err, "timeout[outer]: 1s exceeded")
	})
}

// A rejection inside that the limit caused stays a rejection: nothing ran.
func TestTimeout_rejectionInsideStaysRejection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		err := limit(time.Second).Do(t.Context(), func(ctx context.Context) error {
			return errors.Join(thole.Rejection(thole.ReasonWait, "queue"), wait(ctx))
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		assert.ErrorIs(t, err, thole.ErrRejected)
		assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), err))
	})
}

func TestTimeout_doneContextRunsNothing(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	policy := limit(time.Second)
	err := policy.Do(ctx, func(context.Context) error { panic("ran") })
	assert.Equal(t, context.Canceled, err)
	assert.Equal(t, timeout.Stats{}, policy.Stats())
}

func TestTimeout_lifetimeOutlivesTheLimit(t *testing.T) {
	for _, watched := range []bool{false, true} {
		for _, result := range []error{nil, errBoom} {
			t.Run(fmt.Sprintf("watched %v, error %v", watched, result), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, life := thole.WithLifetime(t.Context())
					var inner, child context.Context
					err := limit(time.Second).Do(ctx, func(ctx context.Context) error {
						_, ok := ctx.Deadline()
						assert.True(t, ok, "the deadline is visible")
						inner, child = ctx, ctx
						if watched {
							c, cancel := context.WithCancel(ctx)
							t.Cleanup(cancel)
							child = c
						}
						return result
					})
					assert.Equal(t, result, err)
					time.Sleep(time.Minute)
					assert.NoError(t, inner.Err())
					assert.NoError(t, child.Err())
					life.End()
					assert.Equal(t, context.Canceled, inner.Err())
					assert.Equal(t, context.Canceled, child.Err())
				})
			})
		}
	}
}

func TestTimeout_lifetimeExpiresWhileFnRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, life := thole.WithLifetime(t.Context())
		defer life.End()
		err := limit(time.Second).Do(ctx, func(ctx context.Context) error {
			child, cancel := context.WithCancel(context.WithValue(ctx, "k", "v")) //nolint:staticcheck // a test
			defer cancel()
			err := wait(child)
			assert.Equal(t, context.DeadlineExceeded, err)
			assert.EqualError(t, context.Cause(child), "timeout[test]: 1s exceeded")
			assert.Equal(t, context.DeadlineExceeded, ctx.Err())
			assert.EqualError(t, context.Cause(ctx), "timeout[test]: 1s exceeded")
			return err
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
	})
}

func TestTimeout_lifetimeThatEndedReleasesOnReturn(t *testing.T) {
	ctx, life := thole.WithLifetime(t.Context())
	life.End()
	var leaked context.Context
	require.NoError(t, limit(time.Second).Do(ctx, func(ctx context.Context) error {
		leaked = ctx
		return nil
	}))
	assert.Equal(t, context.Canceled, leaked.Err())
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

func TestErrTimeout(t *testing.T) {
	assert.NotErrorIs(t, timeout.ErrTimeout, thole.ErrRejected)
	reason, ok := thole.ReasonOf(timeout.ErrTimeout)
	assert.True(t, ok)
	assert.Equal(t, thole.ReasonTimeout, reason)
	var n net.Error
	require.ErrorAs(t, timeout.ErrTimeout, &n)
	assert.True(t, n.Timeout())
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
