package benchmarks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eapache/go-resiliency/deadline"
	"github.com/failsafe-go/failsafe-go"
	fstimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/timeout"
)

func tholeTimeout(d time.Duration) *timeout.Timeout { return timeout.New(timeout.Config{Limit: d}) }

// byHand is the timeout of the standard library.
func byHand(d time.Duration) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		return fn(ctx)
	}
}

func viaDeadline(d *deadline.Deadline) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		return d.Run(func(stop <-chan struct{}) error {
			ctx, cancel := context.WithCancel(ctx)
			defer cancel()
			go func() {
				select {
				case <-stop:
					cancel()
				case <-ctx.Done():
				}
			}()
			return fn(ctx)
		})
	}
}

func askForDone(ctx context.Context) error {
	_ = ctx.Done()
	return nil
}

func TestTimeout_endsACall(t *testing.T) {
	for name, newDo := range map[string]func() doer{
		"thole":               func() doer { return tholeTimeout(time.Second).Do },
		"failsafe-go":         func() doer { return viaFailsafe(failsafe.With(fstimeout.New[any](time.Second))) },
		"context.WithTimeout": func() doer { return byHand(time.Second) },
		"eapache":             func() doer { return viaDeadline(deadline.New(time.Second)) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				do, start := newDo(), time.Now()
				require.NoError(t, do(t.Context(), succeed))
				require.Error(t, do(t.Context(), func(ctx context.Context) error {
					<-ctx.Done()
					return ctx.Err()
				}))
				require.Equal(t, time.Second, time.Since(start))
			})
		})
	}
}

func BenchmarkTimeoutFast(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		t := tholeTimeout(enough)
		for b.Loop() {
			_ = t.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(fstimeout.New[any](enough))
		for b.Loop() {
			_ = e.RunWithExecution(failsafeSucceed)
		}
	})
	b.Run("context.WithTimeout", func(b *testing.B) {
		do := byHand(enough)
		for b.Loop() {
			_ = do(ctx, succeed)
		}
	})
	b.Run("eapache", func(b *testing.B) {
		d := deadline.New(enough)
		for b.Loop() {
			_ = d.Run(func(<-chan struct{}) error { return succeed(ctx) })
		}
	})
}

func BenchmarkTimeoutDone(b *testing.B) {
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		t := tholeTimeout(enough)
		for b.Loop() {
			_ = t.Do(ctx, askForDone)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(fstimeout.New[any](enough))
		fn := func(x failsafe.Execution[any]) error { return askForDone(x.Context()) }
		for b.Loop() {
			_ = e.RunWithExecution(fn)
		}
	})
	b.Run("context.WithTimeout", func(b *testing.B) {
		do := byHand(enough)
		for b.Loop() {
			_ = do(ctx, askForDone)
		}
	})
}
