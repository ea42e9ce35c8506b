package benchmarks

import (
	"context"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/hedge"
)

func tholeHedge(delay time.Duration) *hedge.Hedge { return hedge.New(hedge.Config{Delay: delay}) }

func failsafeHedge(delay time.Duration) hedgepolicy.HedgePolicy[any] {
	return hedgepolicy.NewWithDelay[any](delay)
}

// onAGoroutine is the least that a hedge can do: run the call beside the caller.
func onAGoroutine(ctx context.Context, fn func(context.Context) error) error {
	done := make(chan error, 1)
	go func() { done <- fn(ctx) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

func TestHedge_startsASecondAttempt(t *testing.T) {
	for name, newDo := range map[string]func() doer{
		"thole":       func() doer { return tholeHedge(time.Second).Do },
		"failsafe-go": func() doer { return viaFailsafe(failsafe.With(failsafeHedge(time.Second))) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				do, start := newDo(), time.Now()
				var runs atomic.Int32
				require.NoError(t, do(t.Context(), func(ctx context.Context) error {
					if runs.Add(1) == 1 { // the first hangs
						<-ctx.Done()
						return ctx.Err()
					}
					return nil
				}))
				require.Equal(t, time.Second, time.Since(start))
				require.EqualValues(t, 2, runs.Load())
			})
		})
	}
}

func BenchmarkHedgeQuiet(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		h := tholeHedge(time.Second)
		for b.Loop() {
			_ = h.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(failsafeHedge(time.Second))
		for b.Loop() {
			_ = e.RunWithExecution(failsafeSucceed)
		}
	})
	b.Run("goroutine_+_channel", func(b *testing.B) {
		for b.Loop() {
			_ = onAGoroutine(ctx, succeed)
		}
	})
}
