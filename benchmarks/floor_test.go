package benchmarks

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// BenchmarkFloor is what the parts cost that every library is made of.
func BenchmarkFloor(b *testing.B) {
	ctx := context.Background()
	b.Run("direct_call", func(b *testing.B) {
		for b.Loop() {
			_ = succeed(ctx)
		}
	})
	b.Run("atomic_add", func(b *testing.B) {
		var n atomic.Int64
		for b.Loop() {
			n.Add(1)
		}
	})
	b.Run("CAS", func(b *testing.B) {
		var n atomic.Int64
		for b.Loop() {
			old := n.Load()
			n.CompareAndSwap(old, old+1)
		}
	})
	b.Run("mutex", func(b *testing.B) {
		var mu sync.Mutex
		n := 0
		for b.Loop() {
			mu.Lock()
			n++
			mu.Unlock()
		}
	})
	b.Run("clock", func(b *testing.B) {
		base := time.Now()
		var sum time.Duration
		for b.Loop() {
			sum += time.Since(base)
		}
		sinkDuration = sum
	})
	b.Run("time.Now", func(b *testing.B) {
		for b.Loop() {
			sinkTime = time.Now()
		}
	})
	b.Run("clock_+_CAS", func(b *testing.B) {
		base := time.Now()
		var n atomic.Int64
		for b.Loop() {
			old := n.Load()
			n.CompareAndSwap(old, int64(time.Since(base)))
		}
	})
	b.Run("context.WithTimeout", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			_, cancel := context.WithTimeout(ctx, enough)
			cancel()
		}
	})
	b.Run("goroutine_+_channel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			done := make(chan error, 1)
			go func() { done <- succeed(ctx) }()
			<-done
		}
	})
	b.Run("timer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			time.AfterFunc(enough, func() {}).Stop()
		}
	})
}

// BenchmarkParallelFloor is what two threads on one word cost.
func BenchmarkParallelFloor(b *testing.B) {
	var n atomic.Int64
	var mu sync.Mutex
	base := time.Now()
	parallel(b, "atomic_add", func() { n.Add(1) })
	parallel(b, "CAS", func() {
		for old := n.Load(); !n.CompareAndSwap(old, old+1); old = n.Load() {
		}
	})
	parallel(b, "mutex", func() {
		mu.Lock()
		//lint:ignore SA2001 the empty section is what is measured
		mu.Unlock()
	})
	parallel(b, "clock", func() { _ = time.Since(base) })
}

var (
	sinkDuration time.Duration
	sinkTime     time.Time
)
