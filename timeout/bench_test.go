package timeout_test

import (
	"context"
	"testing"
	"time"

	"github.com/thole-go/thole/timeout"
)

func nop(context.Context) error { return nil }

// poll asks for Done, as everything does that waits.
func poll(ctx context.Context) error {
	select {
	case <-ctx.Done():
		return ctx.Err()
	default:
		return nil
	}
}

func BenchmarkTimeout(b *testing.B) {
	t := timeout.New(timeout.Config{Name: "bench", Limit: time.Minute})
	for _, bench := range []struct {
		name string
		fn   func(context.Context) error
	}{{"fast fn", nop}, {"fn asks for Done", poll}} {
		b.Run(bench.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = t.Do(context.Background(), bench.fn)
			}
		})
	}
	b.Run("context.WithTimeout, fn asks for Done", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
			_ = poll(ctx)
			cancel()
		}
	})
}

func BenchmarkTimeoutUnderParent(b *testing.B) {
	t := timeout.New(timeout.Config{Name: "bench", Limit: time.Minute})
	parent, cancel := context.WithCancel(context.Background())
	defer cancel()
	b.ReportAllocs()
	for b.Loop() {
		_ = t.Do(parent, nop)
	}
}
