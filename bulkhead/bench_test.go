package bulkhead_test

import (
	"context"
	"testing"

	"github.com/thole-go/thole/bulkhead"
)

func nop(context.Context) error { return nil }

func BenchmarkFree(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	for _, c := range []struct {
		name string
		ctx  context.Context
	}{{"background", context.Background()}, {"cancellable", ctx}} {
		b.Run("Do/"+c.name, func(b *testing.B) {
			bh := bulkhead.New(bulkhead.Config{Limit: 10})
			b.ReportAllocs()
			for b.Loop() {
				_ = bh.Do(c.ctx, nop)
			}
		})
	}
	b.Run("Gate", func(b *testing.B) {
		bh := bulkhead.New(bulkhead.Config{Limit: 10})
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			t, _ := bh.Enter(ctx, nil)
			bh.Leave(ctx, t, nil, nil)
		}
	})
	b.Run("Acquire", func(b *testing.B) {
		bh := bulkhead.New(bulkhead.Config{Limit: 10})
		ctx := context.Background()
		b.ReportAllocs()
		for b.Loop() {
			release, _ := bh.Acquire(ctx)
			release()
		}
	})
	b.Run("parallel", func(b *testing.B) {
		bh := bulkhead.New(bulkhead.Config{Limit: 10})
		ctx := context.Background()
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				_ = bh.Do(ctx, nop)
			}
		})
	})
}

func BenchmarkFull(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	full := func() *bulkhead.Bulkhead {
		bh := bulkhead.New(bulkhead.Config{Limit: 1})
		bh.TryAcquire()
		return bh
	}
	b.Run("TryAcquire", func(b *testing.B) {
		bh := full()
		b.ReportAllocs()
		for b.Loop() {
			bh.TryAcquire()
		}
	})
	b.Run("Do/background", func(b *testing.B) {
		bh, ctx := full(), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			_ = bh.Do(ctx, nop)
		}
	})
	b.Run("Do/cancellable", func(b *testing.B) {
		bh := full()
		b.ReportAllocs()
		for b.Loop() {
			_ = bh.Do(ctx, nop)
		}
	})
	b.Run("Acquire", func(b *testing.B) {
		bh, ctx := full(), context.Background()
		b.ReportAllocs()
		for b.Loop() {
			_, _ = bh.Acquire(ctx)
		}
	})
	b.Run("channel", func(b *testing.B) {
		s := make(chan struct{}, 1)
		s <- struct{}{}
		b.ReportAllocs()
		for b.Loop() {
			select {
			case s <- struct{}{}:
			default:
			}
		}
	})
}

// BenchmarkContended is one permit for eight goroutines a core.
func BenchmarkContended(b *testing.B) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	run := func(name string, do func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					do()
				}
			})
		})
	}
	bh := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
	run("Do/background", func() { _ = bh.Do(context.Background(), nop) })
	run("Do/cancellable", func() { _ = bh.Do(ctx, nop) })
	timed := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: 1e9})
	run("Do/MaxWait", func() { _ = timed.Do(ctx, nop) })
	c := make(chan struct{}, 1)
	run("channel", func() { c <- struct{}{}; <-c })
	run("channel select", func() {
		select {
		case c <- struct{}{}:
			<-c
		case <-ctx.Done():
		}
	})
}
