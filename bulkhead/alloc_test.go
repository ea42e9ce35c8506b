//go:build !race

package bulkhead_test

import (
	"context"
	"runtime"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

func TestBulkhead_allocations(t *testing.T) {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	free := bulkhead.New(bulkhead.Config{Limit: 1})
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	hold(t, full)
	shadow := bulkhead.New(bulkhead.Config{Limit: 1, Shadow: true})
	hold(t, shadow)
	for _, row := range []struct {
		name string
		most float64
		run  func()
	}{
		{"Do", 0, func() { _ = free.Do(ctx, nop) }},
		{"Pass", 0, func() { _ = thole.Pass(ctx, free, nop) }},
		{"Acquire", 2, func() { release, _ := free.Acquire(ctx); release() }},
		{"full Do", 0, func() { _ = full.Do(ctx, nop) }},
		{"full Pass", 0, func() { _ = thole.Pass(ctx, full, nop) }},
		{"full Acquire", 0, func() { _, _ = full.Acquire(ctx) }},
		{"full TryAcquire", 0, func() { _, _ = full.TryAcquire() }},
		{"shadow", 0, func() { _ = shadow.Do(ctx, nop) }},
		{"InUse", 0, func() { _ = full.InUse() }},
	} {
		require.LessOrEqual(t, testing.AllocsPerRun(1000, row.run), row.most, row.name)
	}
}

// Where somebody waits all the time, waiting costs nothing: the channels are used again.
func TestBulkhead_allocationsOfWaitsInALastingQueue(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
	ctx, cancel := context.WithCancel(context.Background())
	yield := func(context.Context) error { runtime.Gosched(); return nil }
	var others sync.WaitGroup
	for range 4 {
		others.Go(func() {
			for ctx.Err() == nil {
				_ = b.Do(context.Background(), yield)
			}
		})
	}
	allocs := testing.AllocsPerRun(1000, func() { _ = b.Do(context.Background(), yield) })
	cancel()
	others.Wait()
	require.GreaterOrEqual(t, b.Stats().Queued, 4000)
	require.Zero(t, allocs)
}

// Waiting costs the channel to wait at.
func TestBulkhead_allocationsOfAWait(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	// Another goroutine holds the permit until this one waits.
	turn := make(chan struct{})
	go func() {
		for range turn {
			_ = b.Do(ctx, func(context.Context) error {
				turn <- struct{}{}
				for b.Stats().Waiting == 0 {
					runtime.Gosched()
				}
				return nil
			})
		}
	}()
	allocs := testing.AllocsPerRun(1000, func() {
		turn <- struct{}{}
		<-turn
		_ = b.Do(ctx, nop)
	})
	close(turn)
	require.GreaterOrEqual(t, b.Stats().Queued, 1000)
	require.LessOrEqual(t, allocs, 1.0)
}
