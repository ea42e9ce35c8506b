package breaker_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/thole-go/thole/breaker"
)

var (
	errBench = errors.New("bench")
	never    = time.Hour
)

func succeed(context.Context) error { return nil }
func fail(context.Context) error    { return errBench }

func benchmarkDo(b *testing.B, br *breaker.Breaker, fn func(context.Context) error) {
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = br.Do(ctx, fn)
	}
}

func BenchmarkClosedConsecutive(b *testing.B) {
	benchmarkDo(b, breaker.New(breaker.Config{ConsecutiveFailures: 5}), succeed)
}

func BenchmarkClosedWindow(b *testing.B) {
	benchmarkDo(b, breaker.New(breaker.Config{}), succeed)
}

// A failure now and then keeps the window from being free of failures.
func BenchmarkClosedWindowSomeFail(b *testing.B) {
	br := breaker.New(breaker.Config{})
	n := 0
	benchmarkDo(b, br, func(context.Context) error {
		if n++; n%100 == 0 {
			return errBench
		}
		return nil
	})
}

func BenchmarkClosedWindowAllFail(b *testing.B) {
	benchmarkDo(b, breaker.New(breaker.Config{FailureRatio: 1, MinCalls: 1 << 30}), fail)
}

func BenchmarkClosedWindowCalls(b *testing.B) {
	benchmarkDo(b, breaker.New(breaker.Config{WindowCalls: 100}), succeed)
}

func BenchmarkClosedSlowCall(b *testing.B) {
	benchmarkDo(b, breaker.New(breaker.Config{SlowCall: time.Second}), succeed)
}

func BenchmarkOpenRejecting(b *testing.B) {
	br := breaker.New(breaker.Config{ConsecutiveFailures: 1, OpenFor: never})
	_ = br.Do(context.Background(), fail)
	benchmarkDo(b, br, succeed)
}

func BenchmarkIsolatedRejecting(b *testing.B) {
	br := breaker.New(breaker.Config{})
	br.Isolate(0)
	benchmarkDo(b, br, succeed)
}

func BenchmarkHalfOpenRejecting(b *testing.B) {
	br := breaker.New(breaker.Config{ProbeTimeout: never})
	br.Isolate(1)
	time.Sleep(time.Microsecond)
	if _, err := br.Allow(context.Background()); err != nil {
		b.Fatal(err)
	}
	benchmarkDo(b, br, succeed)
}

func benchmarkParallel(b *testing.B, br *breaker.Breaker) {
	ctx := context.Background()
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			_ = br.Do(ctx, succeed)
		}
	})
}

func BenchmarkParallelClosedWindow(b *testing.B) {
	benchmarkParallel(b, breaker.New(breaker.Config{}))
}

func BenchmarkParallelClosedWindowCalls(b *testing.B) {
	benchmarkParallel(b, breaker.New(breaker.Config{WindowCalls: 100}))
}

func BenchmarkParallelClosedSlowCall(b *testing.B) {
	benchmarkParallel(b, breaker.New(breaker.Config{SlowCall: time.Second}))
}

// The floor these are read against.
func BenchmarkFloorClock(b *testing.B) {
	base := time.Now()
	for b.Loop() {
		_ = time.Since(base)
	}
}

func BenchmarkFloorCall(b *testing.B) {
	ctx := context.Background()
	f := succeed
	for b.Loop() {
		_ = f(ctx)
	}
}
