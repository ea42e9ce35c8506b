package bulkhead_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

// Many wait at once, for about as long as it takes to come to the head of the queue: so that again and again a permit is
// handed over just as the waiter's time is over.
func TestBulkhead_rule25_timeoutAndHandoverRaceSafely(t *testing.T) {
	tries := 1_000_000
	if testing.Short() {
		tries = 50_000
	}
	const bulkheadCount, callers = 2, 16
	var admitted, late atomic.Int64
	var wg sync.WaitGroup
	var bulkheads []*bulkhead.Bulkhead
	for range bulkheadCount {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: 40 * time.Microsecond})
		bulkheads = append(bulkheads, b)
		var inside atomic.Int64
		for range callers {
			wg.Go(func() {
				for i := range tries / bulkheadCount / callers {
					release, err := b.Acquire(context.Background())
					if err != nil {
						if !errors.Is(err, bulkhead.ErrWait) {
							t.Error(err)
						}
						late.Add(1)
						continue
					}
					admitted.Add(1)
					if inside.Add(1) != 1 {
						t.Error("two inside")
					}
					if i%4 == 0 {
						runtime.Gosched()
					}
					inside.Add(-1)
					release()
				}
			})
		}
	}
	wg.Wait()
	t.Logf("%d admitted, %d waited too long", admitted.Load(), late.Load())
	var queued, waitedTooLong int
	for _, b := range bulkheads {
		queued += b.Stats().Queued
		waitedTooLong += b.Stats().WaitedTooLong
		requireWhole(t, b)
	}
	require.Equal(t, int(late.Load()), waitedTooLong)
	require.Greater(t, waitedTooLong, tries/1000, "too few waited too long for a race")
	require.Greater(t, queued-waitedTooLong, tries/1000, "too few were handed a permit for a race")
}

// A wake-up that is lost leaves a caller in the queue for ever, or a permit with nobody.
func TestBulkhead_rule25_noWakeUpIsLost(t *testing.T) {
	duration := 2 * time.Second
	if testing.Short() {
		duration = 200 * time.Millisecond
	}
	const most = 6 // the highest limit there ever is
	b := bulkhead.New(bulkhead.Config{Limit: most, MaxWaiting: -1})
	ctx, stop := context.WithTimeout(context.Background(), duration)
	defer stop()
	var inside atomic.Int64
	var wg sync.WaitGroup
	for range 24 {
		wg.Go(func() {
			r := rand.New(rand.NewPCG(rand.Uint64(), 2))
			for ctx.Err() == nil {
				randomUse(t, b, r, &inside, most)
				runtime.Gosched() // the refused must not keep the processor from those inside
			}
		})
	}
	wg.Go(func() {
		r := rand.New(rand.NewPCG(rand.Uint64(), 3))
		for ctx.Err() == nil {
			cfg := bulkhead.Config{
				Limit:      1 + r.IntN(most),
				MaxWaiting: []int{-1, -1, 2, 10}[r.IntN(4)],
				MaxWait:    []time.Duration{0, 1, 10, 100}[r.IntN(4)] * time.Microsecond,
			}
			if err := b.Reconfigure(cfg); err != nil {
				t.Error(err)
			}
			time.Sleep(time.Duration(r.IntN(100)) * time.Microsecond)
		}
	})
	ended := make(chan struct{})
	go func() { wg.Wait(); close(ended) }()
	select {
	case <-ended:
	case <-time.After(duration + 20*time.Second):
		t.Fatalf("somebody waits for ever: %+v", b.Stats())
	}
	t.Logf("%+v", b.Stats())
	s := b.Stats()
	require.Greater(t, s.WaitedTooLong, 0)
	require.Greater(t, s.Cancelled, 0)
	require.Greater(t, s.Queued-s.WaitedTooLong-s.Cancelled, 0, "handed a permit")
	require.Greater(t, s.ReleasedTwice, 0)
	requireWhole(t, b)
}

func randomUse(t *testing.T, b *bulkhead.Bulkhead, r *rand.Rand, inside *atomic.Int64, most int) {
	ctx, cancel := context.Background(), context.CancelFunc(func() {})
	switch r.IntN(4) {
	case 0:
		ctx, cancel = context.WithTimeout(ctx, time.Duration(r.IntN(50))*time.Microsecond)
	case 1:
		ctx, cancel = context.WithCancel(ctx)
		go cancel()
	}
	defer cancel()
	n := int64(1)
	use := func(context.Context) error {
		if now := inside.Add(n); now > int64(most) {
			t.Errorf("%d inside", now)
		}
		if r.IntN(2) == 0 {
			runtime.Gosched()
		}
		inside.Add(-n)
		return nil
	}
	var err error
	switch r.IntN(4) {
	case 0:
		if release, ok := b.TryAcquire(); ok {
			_ = use(ctx)
			release()
		}
	case 1:
		n = 1 + r.Int64N(int64(most))
		var release func()
		if release, err = b.AcquireN(ctx, int(n)); err == nil {
			_ = use(ctx)
			release()
			if r.IntN(10) == 0 {
				release()
			}
		}
	default:
		err = b.Do(ctx, use)
	}
	if err != nil && !errors.Is(err, thole.ErrRejected) && ctx.Err() == nil {
		t.Error(err)
	}
}
