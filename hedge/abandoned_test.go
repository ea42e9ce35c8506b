package hedge_test

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

// An attempt that ignores its context may succeed long after its hedge has given it up. That
// success is nobody's: it once claimed the call, and the next attempt of a policy further out,
// which succeeded in time, was told context.Canceled.
func TestHedge_aSuccessAfterItWasGivenUpDoesNotClaimTheCall(t *testing.T) {
	const ms = time.Millisecond
	for name, late := range map[string]time.Duration{"before the next attempt": 3 * ms, "during it": 15 * ms, "after it": time.Second} {
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
				v, err := thole.Do(t.Context(), again, func(context.Context) (string, error) {
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
}
