package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
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
			child, cancel := context.WithCancel(context.WithValue(ctx, t, "v"))
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
		"looks late, when both have passed": func(ctx context.Context) error {
			time.Sleep(time.Minute)
			return ctx.Err()
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

func TestErrTimeout(t *testing.T) {
	assert.NotErrorIs(t, timeout.ErrTimeout, thole.ErrRejected)
	reason, ok := thole.ReasonOf(timeout.ErrTimeout)
	assert.True(t, ok)
	assert.Equal(t, thole.ReasonTimeout, reason)
	var n net.Error
	require.ErrorAs(t, timeout.ErrTimeout, &n)
	assert.True(t, n.Timeout())
}
