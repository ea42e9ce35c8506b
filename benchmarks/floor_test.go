package benchmarks

import (
	"context"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/thole-go/thole/benchmarks/internal/report"
)

// floors are the parts that every library is made of.
var floors = []struct {
	name string
	run  func(*testing.B)
}{
	{"direct call", func(b *testing.B) {
		ctx := context.Background()
		for b.Loop() {
			_ = succeed(ctx)
		}
	}},
	{"atomic add", func(b *testing.B) {
		var n atomic.Int64
		for b.Loop() {
			n.Add(1)
		}
	}},
	{"CAS", func(b *testing.B) {
		var n atomic.Int64
		for b.Loop() {
			old := n.Load()
			n.CompareAndSwap(old, old+1)
		}
	}},
	{"mutex", func(b *testing.B) {
		var mu sync.Mutex
		n := 0
		for b.Loop() {
			mu.Lock()
			n++
			mu.Unlock()
		}
	}},
	{"clock", func(b *testing.B) {
		base := time.Now()
		var sum time.Duration
		for b.Loop() {
			sum += time.Since(base)
		}
		sinkDuration = sum
	}},
	{"time.Now", func(b *testing.B) {
		for b.Loop() {
			sinkTime = time.Now()
		}
	}},
	{"clock + CAS", func(b *testing.B) {
		base := time.Now()
		var n atomic.Int64
		for b.Loop() {
			old := n.Load()
			n.CompareAndSwap(old, int64(time.Since(base)))
		}
	}},
	{"context.WithTimeout", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		for b.Loop() {
			_, cancel := context.WithTimeout(ctx, enough)
			cancel()
		}
	}},
	{"goroutine + channel", func(b *testing.B) {
		b.ReportAllocs()
		ctx := context.Background()
		for b.Loop() {
			done := make(chan error, 1)
			go func() { done <- succeed(ctx) }()
			<-done
		}
	}},
	{"timer", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			time.AfterFunc(enough, func() {}).Stop()
		}
	}},
}

// BenchmarkFloor is what they cost.
func BenchmarkFloor(b *testing.B) {
	for _, f := range floors {
		b.Run(f.name, f.run)
	}
}

// yardstick measures the part by which the bar of b's job is translated to this machine. It
// stands at the beginning of the job's benchmark, right before our own turn.
func yardstick(b *testing.B) {
	name := report.Yardstick(strings.TrimPrefix(b.Name(), "Benchmark"))
	for _, f := range floors {
		if f.name == name {
			b.Run("floor, "+name, f.run)
		}
	}
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
