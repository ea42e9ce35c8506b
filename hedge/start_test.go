package hedge

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// On a machine that has no time for the first attempt's goroutine, the caller's context can end
// before it runs: then it never does, and the error says so.
func TestHedge_aCallGivenUpBeforeItBeganNeverBegins(t *testing.T) {
	h := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	c := &call{h: h, set: h.set.Load(), ctx: ctx, wake: make(chan struct{}), fn: func(context.Context) error {
		t.Error("fn ran")
		return nil
	}}
	cancel()
	c.leave()
	err := c.result()
	require.ErrorIs(t, err, thole.ErrRejected)
	require.ErrorIs(t, err, context.Canceled)
	c.startNext()
}

// On such a machine the timer may also be faster than the goroutine of the first attempt. Hedges
// once started beside a first attempt that had just begun, and added to what the machine had to do.
func TestHedge_aFirstAttemptThatBeganLateHasAllOfTheDelay(t *testing.T) {
	const delay = 10 * time.Millisecond
	for _, row := range []struct {
		name  string
		begin time.Duration // of the first attempt's goroutine, after the call
		first time.Duration // when the first attempt starts, for which it takes the timer's if that is sooner
	}{
		{"just before the timer", delay - 1, delay - 1},
		{"just after the timer", delay + 1, delay},
		{"long after the timer", delay * 3 / 2, delay},
		{"after the second call of the timer", delay * 5 / 2, delay},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				began := make(chan time.Duration, 3)
				h := New(Config{Delay: delay, MaxHedges: 2, Budget: thole.NoBudget})
				c := &call{h: h, set: h.set.Load(), ctx: t.Context(), delay: delay, fn: func(context.Context) error {
					began <- time.Since(start)
					time.Sleep(delay * 9)
					return nil
				}}
				c.next = c.startNext
				time.AfterFunc(row.begin, c.next)
				c.wait()
				require.NoError(t, c.result())
				require.Equal(t, row.first, <-began)
				second := <-began
				require.Equal(t, max(row.first+delay, row.begin), second)
				require.GreaterOrEqual(t, <-began, second+delay)
				time.Sleep(time.Second)
			})
		})
	}
}
