package benchmarks

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	avast "github.com/avast/retry-go/v5"
	backoff4 "github.com/cenkalti/backoff/v4"
	backoff5 "github.com/cenkalti/backoff/v5"
	"github.com/eapache/go-resiliency/retrier"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/retrypolicy"
	sethvargo "github.com/sethvargo/go-retry"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

// Three attempts, with an exponential schedule from 100 ms to 10 s. Ours keeps its budget,
// which the others lack or leave off by default.
const (
	firstDelay = 100 * time.Millisecond
	longDelay  = 10 * time.Second
)

func tholeRetry() *retry.Retrier { return retry.New(retry.Config{MaxAttempts: 3}) }

func failsafeRetry() retrypolicy.RetryPolicy[any] {
	return retrypolicy.NewBuilder[any]().WithMaxRetries(2).WithBackoff(firstDelay, longDelay).Build()
}

func avastRetry(ctx context.Context) *avast.Retrier {
	return avast.New(avast.Context(ctx), avast.Attempts(3), avast.Delay(firstDelay), avast.MaxDelay(longDelay), avast.LastErrorOnly(true))
}

func eapacheRetry() *retrier.Retrier {
	return retrier.New(retrier.LimitedExponentialBackoff(2, firstDelay, longDelay), nil)
}

func backoff4Retry(ctx context.Context, op func() error) error {
	return backoff4.Retry(op, backoff4.WithContext(backoff4.WithMaxRetries(backoff4.NewExponentialBackOff(), 2), ctx))
}

func backoff5Retry(ctx context.Context, op func() (struct{}, error)) error {
	_, err := backoff5.Retry(ctx, op, backoff5.WithBackOff(backoff5.NewExponentialBackOff()), backoff5.WithMaxTries(3))
	return err
}

func sethvargoRetry(ctx context.Context, op sethvargo.RetryFunc) error {
	return sethvargo.Do(ctx, sethvargo.WithMaxRetries(2, sethvargo.NewExponential(firstDelay)), op)
}

// The same three attempts without a delay between them.
func tholeAtOnce() *retry.Retrier {
	return retry.New(retry.Config{MaxAttempts: 3, Backoff: retry.Constant(0), Budget: thole.NoBudget})
}

func failsafeAtOnce() retrypolicy.RetryPolicy[any] {
	return retrypolicy.NewBuilder[any]().WithMaxRetries(2).Build()
}

func avastAtOnce(ctx context.Context) *avast.Retrier {
	return avast.New(avast.Context(ctx), avast.Attempts(3), avast.Delay(0), avast.DelayType(avast.FixedDelay), avast.LastErrorOnly(true))
}

func eapacheAtOnce() *retrier.Retrier {
	return retrier.New(retrier.ConstantBackoff(2, 0), nil)
}

func backoff4AtOnce(ctx context.Context, op func() error) error {
	return backoff4.Retry(op, backoff4.WithContext(backoff4.WithMaxRetries(&backoff4.ZeroBackOff{}, 2), ctx))
}

func backoff5AtOnce(ctx context.Context, op func() (struct{}, error)) error {
	_, err := backoff5.Retry(ctx, op, backoff5.WithBackOff(&backoff5.ZeroBackOff{}), backoff5.WithMaxTries(3))
	return err
}

func sethvargoAtOnce(ctx context.Context, op sethvargo.RetryFunc) error {
	atOnce := sethvargo.BackoffFunc(func() (time.Duration, bool) { return 0, false })
	return sethvargo.Do(ctx, sethvargo.WithMaxRetries(2, atOnce), op)
}

// errRetryable is errFailed as sethvargo/go-retry wants it.
var errRetryable = sethvargo.RetryableError(errFailed)

func retryable(fn func(context.Context) error) sethvargo.RetryFunc {
	return func(ctx context.Context) error {
		if fn(ctx) != nil {
			return errRetryable
		}
		return nil
	}
}

func empty(fn func(context.Context) error, ctx context.Context) func() (struct{}, error) {
	return func() (struct{}, error) { return struct{}{}, fn(ctx) }
}

func TestRetry_makesThreeAttempts(t *testing.T) {
	requireThreeAttempts(t, map[string]func(context.Context) doer{
		"thole":       always(tholeRetry().Do),
		"failsafe-go": always(viaFailsafe(failsafe.With(failsafeRetry()))),
		"avast":       func(ctx context.Context) doer { return viaAvast(avastRetry(ctx)) },
		"eapache":     always(eapacheRetry().RunCtx),
		"backoff v4": always(func(ctx context.Context, fn func(context.Context) error) error {
			return backoff4Retry(ctx, func() error { return fn(ctx) })
		}),
		"backoff v5": always(func(ctx context.Context, fn func(context.Context) error) error {
			return backoff5Retry(ctx, empty(fn, ctx))
		}),
		"sethvargo": always(func(ctx context.Context, fn func(context.Context) error) error {
			return sethvargoRetry(ctx, retryable(fn))
		}),
	})
}

func TestRetry_makesThreeAttemptsAtOnce(t *testing.T) {
	requireThreeAttempts(t, map[string]func(context.Context) doer{
		"thole":       always(tholeAtOnce().Do),
		"failsafe-go": always(viaFailsafe(failsafe.With(failsafeAtOnce()))),
		"avast":       func(ctx context.Context) doer { return viaAvast(avastAtOnce(ctx)) },
		"eapache":     always(eapacheAtOnce().RunCtx),
		"backoff v4": always(func(ctx context.Context, fn func(context.Context) error) error {
			return backoff4AtOnce(ctx, func() error { return fn(ctx) })
		}),
		"backoff v5": always(func(ctx context.Context, fn func(context.Context) error) error {
			return backoff5AtOnce(ctx, empty(fn, ctx))
		}),
		"sethvargo": always(func(ctx context.Context, fn func(context.Context) error) error {
			return sethvargoAtOnce(ctx, retryable(fn))
		}),
		"hand-written loop": always(loopThrice),
	})
}

func viaAvast(r *avast.Retrier) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		return r.Do(func() error { return fn(ctx) })
	}
}

func always(do doer) func(context.Context) doer { return func(context.Context) doer { return do } }

// requireThreeAttempts runs each contender in virtual time.
func requireThreeAttempts(t *testing.T, contenders map[string]func(context.Context) doer) {
	for name, contender := range contenders {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				do, c := contender(t.Context()), new(callThrice)
				require.NoError(t, do(t.Context(), c.run))
				require.Equal(t, 3, c.runs)
				runs := 0
				require.Error(t, do(t.Context(), func(context.Context) error { runs++; return errFailed }))
				require.Equal(t, 3, runs)
			})
		})
	}
}

// loopThrice is what is written where no library is at hand.
func loopThrice(ctx context.Context, fn func(context.Context) error) (err error) {
	for range 3 {
		if err = fn(ctx); err == nil || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func BenchmarkRetryFirst(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		r := tholeRetry()
		for b.Loop() {
			_ = r.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(failsafeRetry())
		for b.Loop() {
			_ = e.Run(succeedPlainly)
		}
	})
	b.Run("eapache", func(b *testing.B) {
		r := eapacheRetry()
		for b.Loop() {
			_ = r.RunCtx(ctx, succeed)
		}
	})
	b.Run("avast,_made_once", func(b *testing.B) {
		r := avastRetry(ctx)
		for b.Loop() {
			_ = r.Do(func() error { return succeed(ctx) })
		}
	})
	b.Run("avast,_made_per_context", func(b *testing.B) {
		for b.Loop() {
			_ = avastRetry(ctx).Do(func() error { return succeed(ctx) })
		}
	})
	b.Run("sethvargo", func(b *testing.B) {
		for b.Loop() {
			_ = sethvargoRetry(ctx, succeed)
		}
	})
	b.Run("backoff_v4", func(b *testing.B) {
		for b.Loop() {
			_ = backoff4Retry(ctx, func() error { return succeed(ctx) })
		}
	})
	b.Run("backoff_v5", func(b *testing.B) {
		for b.Loop() {
			_ = backoff5Retry(ctx, func() (struct{}, error) { return struct{}{}, succeed(ctx) })
		}
	})
	b.Run("hand-written_loop", func(b *testing.B) {
		for b.Loop() {
			_ = loopThrice(ctx, succeed)
		}
	})
}

func BenchmarkRetryThird(b *testing.B) {
	yardstick(b)
	ctx, c := context.Background(), new(callThrice)
	run := c.run
	b.Run("thole", func(b *testing.B) {
		r := tholeAtOnce()
		for b.Loop() {
			_ = r.Do(ctx, run)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(failsafeAtOnce())
		for b.Loop() {
			_ = e.Run(c.runPlainly)
		}
	})
	b.Run("eapache", func(b *testing.B) {
		r := eapacheAtOnce()
		for b.Loop() {
			_ = r.RunCtx(ctx, run)
		}
	})
	b.Run("avast,_made_once", func(b *testing.B) {
		r := avastAtOnce(ctx)
		for b.Loop() {
			_ = r.Do(c.runPlainly)
		}
	})
	b.Run("sethvargo", func(b *testing.B) {
		fn := retryable(run)
		for b.Loop() {
			_ = sethvargoAtOnce(ctx, fn)
		}
	})
	b.Run("backoff_v4", func(b *testing.B) {
		for b.Loop() {
			_ = backoff4AtOnce(ctx, c.runPlainly)
		}
	})
	b.Run("backoff_v5", func(b *testing.B) {
		fn := empty(run, ctx)
		for b.Loop() {
			_ = backoff5AtOnce(ctx, fn)
		}
	})
	b.Run("hand-written_loop", func(b *testing.B) {
		for b.Loop() {
			_ = loopThrice(ctx, run)
		}
	})
}

func BenchmarkParallelRetryFirst(b *testing.B) {
	ctx := context.Background()
	ours, theirs, loop := tholeRetry(), failsafe.With(failsafeRetry()), eapacheRetry()
	parallel(b, "thole", func() { _ = ours.Do(ctx, succeed) })
	parallel(b, "failsafe-go", func() { _ = theirs.Run(succeedPlainly) })
	parallel(b, "eapache", func() { _ = loop.RunCtx(ctx, succeed) })
}
