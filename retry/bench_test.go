package retry_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

var errBench = errors.New("bench")

// BenchmarkRetrier_firstTry is the row "retry, first try succeeds" with the budget on.
func BenchmarkRetrier_firstTry(b *testing.B) {
	type key int
	background := context.Background()
	deep := context.WithValue(context.WithValue(context.WithValue(background, key(1), 1), key(2), 2), key(3), 3)
	cancelled, cancel := context.WithCancel(background)
	defer cancel()
	for name, ctx := range map[string]context.Context{"background": background, "cancel": cancelled, "3 values": deep} {
		b.Run(name, func(b *testing.B) {
			r := retry.New(retry.Config{})
			fn := func(context.Context) error { return nil }
			b.ReportAllocs()
			for b.Loop() {
				_ = r.Do(ctx, fn)
			}
		})
	}
}

// BenchmarkRetrier_thirdTry is the row "retry, third try succeeds, no delay".
func BenchmarkRetrier_thirdTry(b *testing.B) {
	ctx := context.Background()
	r := retry.New(retry.Config{Backoff: retry.Constant(0), Budget: thole.NoBudget})
	n := 0
	fn := func(context.Context) error {
		if n++; n%3 != 0 {
			return errBench
		}
		return nil
	}
	b.ReportAllocs()
	for b.Loop() {
		_ = r.Do(ctx, fn)
	}
}

func BenchmarkSchedule_fullJitter(b *testing.B) {
	s := retry.FullJitter(time.Millisecond, time.Second)()
	for b.Loop() {
		_ = s.NextBackOff()
	}
}
