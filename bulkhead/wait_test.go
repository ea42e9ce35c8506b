package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

func TestBulkhead_rule25_queueIsFIFO(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
		release := hold(t, b)
		var calls []*call
		for range 100 {
			calls = append(calls, start(t.Context(), b, 1))
		}
		for i, c := range calls {
			require.Equal(t, 100-i, b.Stats().Waiting)
			release()
			c.requireAdmitted(t)
			for _, later := range calls[i+1:] {
				require.False(t, later.ended.Load())
			}
			release = c.release
		}
		release()
		require.Equal(t, 100, b.Stats().Queued)
		requireWhole(t, b)
	})
}

func TestBulkhead_rule25_newcomersDoNotOvertake(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 3, MaxWaiting: 2})
		release := hold(t, b)
		heavy := start(t.Context(), b, 3)
		heavy.requireWaiting(t)
		// Two permits are free, but the one in the queue needs them.
		_, ok := b.TryAcquire()
		require.False(t, ok)
		light := start(t.Context(), b, 1)
		light.requireWaiting(t)
		_, err := b.Acquire(t.Context())
		require.ErrorIs(t, err, bulkhead.ErrFull)
		release()
		heavy.requireAdmitted(t)
		light.requireWaiting(t)
		heavy.release()
		light.requireAdmitted(t)
		light.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule25_maxWaitingBoundsTheQueue(t *testing.T) {
	for _, places := range []int{0, 1, 5} {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: places})
			release := hold(t, b)
			var calls []*call
			for range places {
				calls = append(calls, start(t.Context(), b, 1))
			}
			for range 3 {
				_, err := b.Acquire(t.Context())
				require.ErrorIs(t, err, bulkhead.ErrFull)
			}
			require.Equal(t, places, b.Stats().Waiting)
			for _, c := range calls {
				release()
				c.requireAdmitted(t)
				release = c.release
			}
			release()
			requireWhole(t, b)
		})
	}
}

// One release may let several in, and none fewer than fit.
func TestBulkhead_rule25_heavyReleaseLetsAllInThatFit(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: -1})
		release, err := b.AcquireN(t.Context(), 4)
		require.NoError(t, err)
		one, two, three := start(t.Context(), b, 1), start(t.Context(), b, 2), start(t.Context(), b, 3)
		release()
		one.requireAdmitted(t)
		two.requireAdmitted(t)
		three.requireWaiting(t)
		one.release()
		three.requireWaiting(t)
		two.release()
		three.requireAdmitted(t)
		three.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule06_cancelIsPromptAndFreesThePlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 1, MaxWaiting: 2, MaxWait: time.Hour})
		release := hold(t, b)
		first, second := start(t.Context(), b, 1), start(t.Context(), b, 1)
		time.Sleep(time.Second)
		second.cancel(errBoom)
		second.requireError(t, context.Canceled)
		require.Equal(t, time.Second, second.took)
		require.ErrorIs(t, second.err, thole.ErrRejected)
		require.ErrorIs(t, second.err, errBoom, "the cause")
		require.NotErrorIs(t, second.err, bulkhead.ErrWait)
		require.NotErrorIs(t, second.err, bulkhead.ErrFull)
		require.Equal(t, "bulkhead[db]: no permit before the context ended: context canceled (boom)", second.err.Error())
		reason, _ := thole.ReasonOf(second.err)
		require.Equal(t, thole.ReasonWait, reason)
		require.Equal(t, 1, b.Stats().Waiting)
		require.Equal(t, 1, b.Stats().Cancelled)
		third := start(t.Context(), b, 1)
		third.requireWaiting(t)
		release()
		first.requireAdmitted(t)
		first.release()
		third.requireAdmitted(t)
		third.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule06_deadlineInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 2})
		release := hold(t, b)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		began := time.Now()
		err := b.Do(ctx, mustNotRun(t))
		require.Equal(t, time.Second, time.Since(began))
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.ErrorIs(t, err, thole.ErrRejected)
		var e *bulkhead.Error
		require.ErrorAs(t, err, &e)
		require.Len(t, e.Unwrap(), 1, "no cause of its own")
		release()
		requireWhole(t, b)
	})
}

// A caller whose context ended just when it was handed a permit passes it on.
func TestBulkhead_rule06_cancelledAndAdmittedAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 2})
		for range 100 { // which of the two the caller sees first is chance
			release := hold(t, b)
			first, second := start(t.Context(), b, 1), start(t.Context(), b, 1)
			release()
			first.cancel(nil)
			synctest.Wait()
			if first.err == nil {
				first.release()
			} else {
				first.requireError(t, context.Canceled)
			}
			second.requireAdmitted(t)
			second.release()
		}
		requireWhole(t, b)
	})
}

func TestBulkhead_rule25_cancelOfAHeavyHeadWakesThoseBehind(t *testing.T) {
	end := map[string]func(*call){
		"cancel":  func(c *call) { c.cancel(nil) },
		"MaxWait": func(*call) { time.Sleep(time.Minute - time.Second) },
	}
	for name, end := range end {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: -1, MaxWait: time.Minute})
				release := hold(t, b)
				heavy := start(t.Context(), b, 4)
				time.Sleep(time.Second)
				two, one, last := start(t.Context(), b, 2), start(t.Context(), b, 1), start(t.Context(), b, 1)
				end(heavy)
				synctest.Wait()
				require.Error(t, heavy.err)
				two.requireAdmitted(t)
				one.requireAdmitted(t)
				last.requireWaiting(t)
				release()
				last.requireAdmitted(t)
				two.release()
				one.release()
				last.release()
				requireWhole(t, b)
			})
		})
	}
}

// A caller that comes back as soon as it is told finds the queue and the permits settled.
func TestBulkhead_rule25_heavyHeadGoneAllIsSettled(t *testing.T) {
	for range 50 {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: 1, MaxWait: time.Minute})
			release := hold(t, b)
			_, err := b.AcquireN(t.Context(), 4)
			require.ErrorIs(t, err, bulkhead.ErrWait)
			hold(t, b)()
			require.Zero(t, b.Stats().Waiting)
			release()
		})
	}
}

func TestBulkhead_rule25_maxWaitIsExact(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 1, MaxWaiting: -1, MaxWait: 100 * time.Millisecond})
		release := hold(t, b)
		var calls []*call
		for range 10 {
			calls = append(calls, start(t.Context(), b, 1))
			time.Sleep(7 * time.Millisecond)
		}
		time.Sleep(20 * time.Millisecond)
		release() // at 90 ms
		calls[0].requireAdmitted(t)
		require.Equal(t, 90*time.Millisecond, calls[0].took)
		time.Sleep(time.Second)
		for _, c := range calls[1:] {
			c.requireError(t, bulkhead.ErrWait)
			require.Equal(t, 100*time.Millisecond, c.took)
			require.ErrorIs(t, c.err, thole.ErrRejected)
			require.NotErrorIs(t, c.err, bulkhead.ErrFull)
			require.Equal(t, "bulkhead[db]: no permit within MaxWait", c.err.Error())
		}
		reason, _ := thole.ReasonOf(calls[1].err)
		require.Equal(t, thole.ReasonWait, reason)
		require.Equal(t, 9, b.Stats().WaitedTooLong)
		calls[0].release()
		requireWhole(t, b)
	})
}

func TestBulkhead_noMaxWaitWaitsForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
		release := hold(t, b)
		c := start(context.Background(), b, 1)
		time.Sleep(10000 * time.Hour)
		c.requireWaiting(t)
		release()
		c.requireAdmitted(t)
		c.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_weightsThatCannotBe(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 5, MaxWaiting: -1})
	for n, text := range map[int]string{
		0:                     "bulkhead[db]: 0 permits asked for: want at least 1",
		-1:                    "bulkhead[db]: -1 permits asked for: want at least 1",
		-1 << 31:              "bulkhead[db]: -2147483648 permits asked for: want at least 1",
		6:                     "bulkhead[db]: 6 permits asked for, more than the limit of 5",
		bulkhead.MaxLimit + 1: "bulkhead[db]: 1073741825 permits asked for, more than the limit of 5",
		math.MaxInt:           fmt.Sprintf("bulkhead[db]: %d permits asked for, more than the limit of 5", math.MaxInt),
	} {
		release, err := b.AcquireN(context.Background(), n)
		require.ErrorIs(t, err, bulkhead.ErrWeight)
		require.ErrorIs(t, err, thole.ErrRejected)
		require.NotErrorIs(t, err, bulkhead.ErrFull)
		require.EqualError(t, err, text)
		reason, _ := thole.ReasonOf(err)
		require.Equal(t, thole.ReasonBurst, reason)
		release()
	}
	require.Equal(t, 6, b.Stats().TooHeavy)
	requireWhole(t, b)
}

// A context that fails in ways of its own cannot make the queue forget a place.
func TestBulkhead_customContextInTheQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
		release := hold(t, b)
		ctx := &oddContext{Context: context.Background(), done: make(chan struct{})}
		c := start(ctx, b, 1)
		c.requireWaiting(t)
		ctx.err = errors.New("odd")
		close(ctx.done)
		c.requireError(t, ctx.err)
		release()
		requireWhole(t, b)
	})
}

type oddContext struct {
	context.Context
	done chan struct{}
	err  error
}

func (c *oddContext) Done() <-chan struct{} { return c.done }
func (c *oddContext) Err() error {
	select {
	case <-c.done:
		return c.err
	default:
		return nil
	}
}

// A permit that comes together with the end of the context is passed on, and fn does not run.
func TestBulkhead_rule06_permitForAnEndedContextIsPassedOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 2})
		release := hold(t, b)
		ctx := &lateContext{Context: t.Context(), done: make(chan struct{})}
		first := &call{}
		go func() {
			first.release, first.err = b.Acquire(ctx)
			first.ended.Store(true)
		}()
		synctest.Wait()
		second := start(t.Context(), b, 1)
		ended := context.Canceled
		ctx.err.Store(&ended)
		release()
		first.requireError(t, context.Canceled)
		second.requireAdmitted(t)
		second.release()
		requireWhole(t, b)
	})
}

// lateContext tells by Err that it has ended before its Done does.
type lateContext struct {
	context.Context
	done chan struct{}
	err  atomic.Pointer[error]
}

func (c *lateContext) Done() <-chan struct{} { return c.done }
func (c *lateContext) Err() error {
	if err := c.err.Load(); err != nil {
		return *err
	}
	return nil
}

func TestBulkhead_rule25_maxWaitingHoldsInARush(t *testing.T) {
	for range 300 {
		synctest.Test(t, func(t *testing.T) {
			b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 3})
			release := hold(t, b)
			var full atomic.Int64
			for range 16 {
				go func() {
					if err := b.Do(t.Context(), nop); errors.Is(err, bulkhead.ErrFull) {
						full.Add(1)
					}
				}()
			}
			synctest.Wait()
			require.Equal(t, 3, b.Stats().Waiting)
			require.Equal(t, int64(13), full.Load())
			release()
			synctest.Wait()
			requireWhole(t, b)
		})
	}
}
