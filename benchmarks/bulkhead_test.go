package benchmarks

import (
	"context"
	"testing"
	"time"

	eapache "github.com/eapache/go-resiliency/semaphore"
	"github.com/failsafe-go/failsafe-go"
	fsbulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"

	"github.com/thole-go/thole/bulkhead"
)

// A hundred permits where they are free, one where it is not.
const permits = 100

// viaXSync runs fn with a permit of a weighted semaphore, or refuses it.
func viaXSync(s *semaphore.Weighted) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		if !s.TryAcquire(1) {
			return errFailed
		}
		defer s.Release(1)
		return fn(ctx)
	}
}

// viaChannel does so with a buffered channel.
func viaChannel(permits chan struct{}) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		select {
		case permits <- struct{}{}:
		default:
			return errFailed
		}
		defer func() { <-permits }()
		return fn(ctx)
	}
}

func viaEapacheSemaphore(s *eapache.Semaphore) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		if err := s.Acquire(); err != nil {
			return err
		}
		defer s.Release()
		return fn(ctx)
	}
}

func TestBulkhead_refusesWhenFull(t *testing.T) {
	for name, do := range map[string]doer{
		"thole":       bulkhead.New(bulkhead.Config{Limit: 2}).Do,
		"failsafe-go": viaFailsafe(failsafe.With(fsbulkhead.New[any](2))),
		"x/sync":      viaXSync(semaphore.NewWeighted(2)),
		"channel":     viaChannel(make(chan struct{}, 2)),
		"eapache":     viaEapacheSemaphore(eapache.New(2, time.Millisecond)),
	} {
		t.Run(name, func(t *testing.T) {
			ctx := t.Context()
			require.NoError(t, do(ctx, func(ctx context.Context) error {
				return do(ctx, func(ctx context.Context) error {
					requireShut(t, do)
					return nil
				})
			}))
			require.NoError(t, do(ctx, succeed))
		})
	}
}

func BenchmarkBulkheadFree(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		h := bulkhead.New(bulkhead.Config{Limit: permits})
		for b.Loop() {
			_ = h.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafe.With(fsbulkhead.New[any](permits))
		for b.Loop() {
			_ = e.Run(succeedPlainly)
		}
	})
	b.Run("failsafe-go,_permits_alone", func(b *testing.B) {
		h := fsbulkhead.New[any](permits)
		for b.Loop() {
			if h.TryAcquirePermit() {
				_ = succeed(ctx)
				h.ReleasePermit()
			}
		}
	})
	b.Run("x/sync", func(b *testing.B) {
		s := semaphore.NewWeighted(permits)
		for b.Loop() {
			if s.Acquire(ctx, 1) == nil {
				_ = succeed(ctx)
				s.Release(1)
			}
		}
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan struct{}, permits)
		for b.Loop() {
			select {
			case c <- struct{}{}:
			default:
				continue
			}
			_ = succeed(ctx)
			<-c
		}
	})
	b.Run("eapache", func(b *testing.B) {
		s := eapache.New(permits, time.Second)
		for b.Loop() {
			if s.Acquire() == nil {
				_ = succeed(ctx)
				s.Release()
			}
		}
	})
}

func BenchmarkBulkheadFull(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		h := bulkhead.New(bulkhead.Config{Limit: 1})
		h.TryAcquire()
		for b.Loop() {
			_ = h.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		h := fsbulkhead.New[any](1)
		h.TryAcquirePermit()
		e := failsafe.With(h)
		for b.Loop() {
			_ = e.Run(succeedPlainly)
		}
	})
	b.Run("failsafe-go,_permits_alone", func(b *testing.B) {
		h := fsbulkhead.New[any](1)
		h.TryAcquirePermit()
		for b.Loop() {
			_ = h.TryAcquirePermit()
		}
	})
	b.Run("x/sync", func(b *testing.B) {
		s := semaphore.NewWeighted(1)
		s.TryAcquire(1)
		for b.Loop() {
			_ = s.TryAcquire(1)
		}
	})
	b.Run("channel", func(b *testing.B) {
		c := make(chan struct{}, 1)
		c <- struct{}{}
		do := viaChannel(c)
		for b.Loop() {
			_ = do(ctx, succeed)
		}
	})
}

// BenchmarkParallelBulkheadContended has eight goroutines a processor wait for one permit.
func BenchmarkParallelBulkheadContended(b *testing.B) {
	yardstick(b)
	ctx := context.Background()
	contend := func(name string, op func()) {
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			b.SetParallelism(8)
			b.RunParallel(func(pb *testing.PB) {
				for pb.Next() {
					op()
				}
			})
		})
	}
	ours := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
	contend("thole", func() { _ = ours.Do(ctx, yield) })
	theirs := fsbulkhead.NewBuilder[any](1).WithMaxWaitTime(never).Build()
	e := failsafe.With(theirs)
	contend("failsafe-go", func() {
		_ = e.Run(func() error { return yield(ctx) })
	})
	contend("failsafe-go,_permits_alone", func() {
		if theirs.AcquirePermit(ctx) == nil {
			_ = yield(ctx)
			theirs.ReleasePermit()
		}
	})
	s := semaphore.NewWeighted(1)
	contend("x/sync", func() {
		if s.Acquire(ctx, 1) == nil {
			_ = yield(ctx)
			s.Release(1)
		}
	})
	c := make(chan struct{}, 1)
	contend("channel", func() {
		select {
		case c <- struct{}{}:
		case <-ctx.Done():
			return
		}
		_ = yield(ctx)
		<-c
	})
}

func BenchmarkParallelBulkheadFree(b *testing.B) {
	ctx := context.Background()
	ours := bulkhead.New(bulkhead.Config{Limit: permits})
	parallel(b, "thole", func() { _ = ours.Do(ctx, succeed) })
	theirs := fsbulkhead.New[any](permits)
	parallel(b, "failsafe-go,_permits_alone", func() {
		if theirs.TryAcquirePermit() {
			_ = succeed(ctx)
			theirs.ReleasePermit()
		}
	})
	s := semaphore.NewWeighted(permits)
	parallel(b, "x/sync", func() {
		if s.Acquire(ctx, 1) == nil {
			_ = succeed(ctx)
			s.Release(1)
		}
	})
}
