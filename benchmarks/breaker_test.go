package benchmarks

import (
	"context"
	"testing"
	"time"

	eapache "github.com/eapache/go-resiliency/breaker"
	"github.com/failsafe-go/failsafe-go"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/breaker"
)

// Five failures in a row open the circuit.
const row = 5

func tholeRow() *breaker.Breaker {
	return breaker.New(breaker.Config{ConsecutiveFailures: row, OpenFor: never})
}

func failsafeRow() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().WithFailureThreshold(row).WithDelay(never).Build()
}

func gobreakerRow() *gobreaker.CircuitBreaker[any] {
	return gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Timeout:     never,
		ReadyToTrip: func(c gobreaker.Counts) bool { return c.ConsecutiveFailures >= row },
	})
}

func eapacheRow() *eapache.Breaker { return eapache.New(row, 1, never) }

// Half of at least so many calls in 10 s open it.
const window = 20

func tholeWindow() *breaker.Breaker {
	return breaker.New(breaker.Config{FailureRatio: 0.5, MinCalls: window, Window: 10 * time.Second, OpenFor: never})
}

func failsafeWindow() circuitbreaker.CircuitBreaker[any] {
	return circuitbreaker.NewBuilder[any]().
		WithFailureRateThreshold(0.5, window, 10*time.Second).WithDelay(never).Build()
}

func gobreakerWindow() *gobreaker.CircuitBreaker[any] {
	return gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Interval:     10 * time.Second,
		BucketPeriod: time.Second,
		Timeout:      never,
		ReadyToTrip:  func(c gobreaker.Counts) bool { return c.Requests >= window && 2*c.TotalFailures >= c.Requests },
	})
}

func viaGobreaker(cb *gobreaker.CircuitBreaker[any]) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		_, err := cb.Execute(func() (any, error) { return nil, fn(ctx) })
		return err
	}
}

func viaEapacheBreaker(cb *eapache.Breaker) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		return cb.Run(func() error { return fn(ctx) })
	}
}

func TestBreaker_opensAfterARowOfFailures(t *testing.T) {
	for name, do := range map[string]doer{
		"thole":       tholeRow().Do,
		"failsafe-go": viaFailsafe(failsafe.With(failsafeRow())),
		"gobreaker":   viaGobreaker(gobreakerRow()),
		"eapache":     viaEapacheBreaker(eapacheRow()),
	} {
		t.Run(name, func(t *testing.T) {
			require.NoError(t, do(t.Context(), succeed))
			for range row {
				require.ErrorIs(t, do(t.Context(), fail), errFailed)
			}
			requireShut(t, do)
		})
	}
}

func TestBreaker_opensAtARatioInAWindow(t *testing.T) {
	for name, do := range map[string]doer{
		"thole":       tholeWindow().Do,
		"failsafe-go": viaFailsafe(failsafe.With(failsafeWindow())),
		"gobreaker":   viaGobreaker(gobreakerWindow()),
	} {
		t.Run(name, func(t *testing.T) {
			for range 11 {
				require.NoError(t, do(t.Context(), succeed))
			}
			for range 10 {
				require.ErrorIs(t, do(t.Context(), fail), errFailed)
			}
			require.NoError(t, do(t.Context(), succeed), "10 of 21 are less than half")
			require.ErrorIs(t, do(t.Context(), fail), errFailed)
			require.ErrorIs(t, do(t.Context(), fail), errFailed)
			requireShut(t, do)
		})
	}
}

// requireShut checks that a call is refused without running.
func requireShut(t *testing.T, do doer) {
	t.Helper()
	ran := false
	err := do(t.Context(), func(context.Context) error { ran = true; return nil })
	require.Error(t, err)
	require.False(t, ran)
}

func BenchmarkBreakerClosedRow(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	benchBreakers(b, tholeRow(), failsafeRow(), gobreakerRow())
	b.Run("eapache", func(b *testing.B) {
		cb := eapacheRow()
		for b.Loop() {
			_ = cb.Run(func() error { return succeed(ctx) })
		}
	})
}

func BenchmarkBreakerClosedWindow(b *testing.B) {
	yardstick(b)
	benchBreakers(b, tholeWindow(), failsafeWindow(), gobreakerWindow())
}

func BenchmarkBreakerOpen(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	ours, theirs, sony, other := tholeRow(), failsafeRow(), gobreakerRow(), eapacheRow()
	for range row {
		_ = ours.Do(ctx, fail)
		_ = viaFailsafe(failsafe.With(theirs))(ctx, fail)
		_ = viaGobreaker(sony)(ctx, fail)
		_ = viaEapacheBreaker(other)(ctx, fail)
	}
	benchBreakers(b, ours, theirs, sony)
	b.Run("eapache", func(b *testing.B) {
		for b.Loop() {
			_ = other.Run(func() error { return succeed(ctx) })
		}
	})
}

func benchBreakers(
	b *testing.B,
	ours *breaker.Breaker,
	theirs circuitbreaker.CircuitBreaker[any],
	sony *gobreaker.CircuitBreaker[any],
) {
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		for b.Loop() {
			_ = ours.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(theirs)
		for b.Loop() {
			_ = e.Run(succeedPlainly)
		}
	})
	b.Run("failsafe-go,_permits_alone", func(b *testing.B) {
		for b.Loop() {
			if theirs.TryAcquirePermit() {
				if succeed(ctx) == nil {
					theirs.RecordSuccess()
				}
			}
		}
	})
	b.Run("gobreaker", func(b *testing.B) {
		for b.Loop() {
			_, _ = sony.Execute(func() (any, error) { return nil, succeed(ctx) })
		}
	})
}

func BenchmarkParallelBreakerClosedRow(b *testing.B) {
	parallelBreakers(b, tholeRow(), failsafeRow(), gobreakerRow())
}

func BenchmarkParallelBreakerClosedWindow(b *testing.B) {
	parallelBreakers(b, tholeWindow(), failsafeWindow(), gobreakerWindow())
}

func parallelBreakers(
	b *testing.B,
	ours *breaker.Breaker,
	theirs circuitbreaker.CircuitBreaker[any],
	sony *gobreaker.CircuitBreaker[any],
) {
	ctx := context.Background()
	e := failsafe.With(theirs)
	parallel(b, "thole", func() { _ = ours.Do(ctx, succeed) })
	parallel(b, "failsafe-go", func() { _ = e.Run(succeedPlainly) })
	parallel(b, "gobreaker", func() {
		_, _ = sony.Execute(func() (any, error) { return nil, succeed(ctx) })
	})
}
