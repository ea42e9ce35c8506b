package benchmarks

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/failsafe-go/failsafe-go"
	fsbulkhead "github.com/failsafe-go/failsafe-go/bulkhead"
	fstimeout "github.com/failsafe-go/failsafe-go/timeout"
	sethvargo "github.com/sethvargo/go-retry"
	"github.com/sony/gobreaker/v2"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
)

// The stack that all build: a timeout, three attempts, a breaker that opens after five
// failures in a row, a bulkhead, a rate limit.
func tholeStack(b *breaker.Breaker, withTimeout bool) thole.Policy {
	var limit thole.Policy
	if withTimeout {
		limit = tholeTimeout(enough)
	}
	return thole.Chain(
		limit,
		tholeRetry(),
		b,
		bulkhead.New(bulkhead.Config{Limit: permits}),
		tholeBucket(plenty, time.Second),
	)
}

func failsafeStack(withTimeout bool) failsafe.Executor[any] {
	policies := []failsafe.Policy[any]{
		failsafeRetry(),
		failsafeRow(),
		fsbulkhead.New[any](permits),
		failsafeBursty(plenty, time.Second),
	}
	if withTimeout {
		policies = append([]failsafe.Policy[any]{fstimeout.New[any](enough)}, policies...)
	}
	return failsafe.With(policies...)
}

// composed is the stack made of good libraries by hand.
type composed struct {
	timeout time.Duration
	breaker *gobreaker.CircuitBreaker[any]
	permits *semaphore.Weighted
	limit   *rate.Limiter
}

func newComposed(withTimeout bool) *composed {
	c := &composed{breaker: gobreakerRow(), permits: semaphore.NewWeighted(permits), limit: xRate(plenty, time.Second)}
	if withTimeout {
		c.timeout = enough
	}
	return c
}

func (c *composed) Do(ctx context.Context, fn func(context.Context) error) error {
	if c.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, c.timeout)
		defer cancel()
	}
	return sethvargoRetry(ctx, func(ctx context.Context) error {
		_, err := c.breaker.Execute(func() (any, error) { return nil, c.admitted(ctx, fn) })
		if err != nil {
			return sethvargo.RetryableError(err)
		}
		return nil
	})
}

func (c *composed) admitted(ctx context.Context, fn func(context.Context) error) error {
	if !c.permits.TryAcquire(1) {
		return errRefused
	}
	defer c.permits.Release(1)
	if !c.limit.Allow() {
		return errRefused
	}
	return fn(ctx)
}

var errRefused = errors.New("refused")

// lean is the stack written out by hand with no more than this one use needs: no half-open
// probes, no jitter, no statistics, no names.
type lean struct {
	timeout  time.Duration
	failures atomic.Int32
	openTill atomic.Int64
	permits  chan struct{}

	mu     sync.Mutex
	base   time.Time
	filled time.Duration
	tokens float64
}

func newLean(withTimeout bool) *lean {
	l := &lean{permits: make(chan struct{}, permits), base: time.Now(), tokens: plenty}
	if withTimeout {
		l.timeout = enough
	}
	return l
}

func (l *lean) Do(ctx context.Context, fn func(context.Context) error) (err error) {
	if l.timeout > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, l.timeout)
		defer cancel()
	}
	for attempt := range 3 {
		if attempt > 0 {
			time.Sleep(firstDelay << attempt)
		}
		if err = l.attempt(ctx, fn); err == nil || errors.Is(err, errRefused) || ctx.Err() != nil {
			return err
		}
	}
	return err
}

func (l *lean) attempt(ctx context.Context, fn func(context.Context) error) error {
	if l.failures.Load() >= row {
		if int64(time.Since(l.base)) < l.openTill.Load() {
			return errRefused
		}
		l.failures.Store(0)
	}
	err := l.admitted(ctx, fn)
	switch {
	case err == nil:
		l.failures.Store(0)
	case !errors.Is(err, errRefused):
		if l.failures.Add(1) == row {
			l.openTill.Store(int64(time.Since(l.base) + never))
		}
	}
	return err
}

func (l *lean) admitted(ctx context.Context, fn func(context.Context) error) error {
	select {
	case l.permits <- struct{}{}:
	default:
		return errRefused
	}
	defer func() { <-l.permits }()
	if !l.allow() {
		return errRefused
	}
	return fn(ctx)
}

func (l *lean) allow() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := time.Since(l.base)
	l.tokens = min(plenty, l.tokens+(now-l.filled).Seconds()*plenty)
	l.filled = now
	if l.tokens < 1 {
		return false
	}
	l.tokens--
	return true
}

func TestStack_eachLayerActs(t *testing.T) {
	for name, newDo := range map[string]func() doer{
		"thole":       func() doer { return tholeStack(tholeRow(), true).Do },
		"failsafe-go": func() doer { return viaFailsafe(failsafeStack(true)) },
		"composed":    func() doer { return newComposed(true).Do },
		"lean":        func() doer { return newLean(true).Do },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { requireStack(t, newDo) })
		})
	}
}

func requireStack(t *testing.T, newDo func() doer) {
	ctx := t.Context()
	do := newDo()
	c := new(callThrice)
	require.NoError(t, do(ctx, c.run))
	require.Equal(t, 3, c.runs, "it retries")

	start := time.Now()
	require.Error(t, do(ctx, func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}))
	require.Equal(t, enough, time.Since(start), "it times out")

	do = newDo()
	runs := 0
	for range 3 {
		require.Error(t, do(ctx, func(context.Context) error { runs++; return errFailed }))
	}
	require.Equal(t, row, runs, "the breaker opens")

	do = newDo()
	full := make(chan struct{})
	for range permits {
		go func() {
			_ = do(ctx, func(context.Context) error { <-full; return nil })
		}()
	}
	synctest.Wait()
	requireShut(t, do)
	close(full)
	synctest.Wait()
	require.NoError(t, do(ctx, succeed))
}

func BenchmarkChain(b *testing.B)          { benchStacks(b, true) }
func BenchmarkChainNoTimeout(b *testing.B) { benchStacks(b, false) }

func benchStacks(b *testing.B, withTimeout bool) {
	yardstick(b)
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		p := tholeStack(tholeRow(), withTimeout)
		for b.Loop() {
			_ = p.Do(ctx, succeed)
		}
	})
	b.Run("thole,_breaker_with_a_window", func(b *testing.B) {
		p := tholeStack(tholeWindow(), withTimeout)
		for b.Loop() {
			_ = p.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafeStack(withTimeout)
		for b.Loop() {
			_ = e.RunWithExecution(failsafeSucceed)
		}
	})
	b.Run("failsafe-go,_caller's_context", func(b *testing.B) {
		e := failsafeStack(withTimeout)
		for b.Loop() {
			_ = e.WithContext(ctx).RunWithExecution(failsafeSucceed)
		}
	})
	b.Run("good_libraries_composed", func(b *testing.B) {
		c := newComposed(withTimeout)
		for b.Loop() {
			_ = c.Do(ctx, succeed)
		}
	})
	b.Run("hand-written,_lean", func(b *testing.B) {
		l := newLean(withTimeout)
		for b.Loop() {
			_ = l.Do(ctx, succeed)
		}
	})
}

// BenchmarkChainValue has the call return a value.
func BenchmarkChainValue(b *testing.B) {
	ctx := context.Background()
	b.Run("thole", func(b *testing.B) {
		p := tholeStack(tholeRow(), true)
		for b.Loop() {
			_, _ = thole.Do(ctx, p, func(context.Context) (int, error) { return 1, nil })
		}
	})
	b.Run("thole,_no_value", func(b *testing.B) {
		p := tholeStack(tholeRow(), true)
		for b.Loop() {
			_ = p.Do(ctx, succeed)
		}
	})
	b.Run("failsafe-go", func(b *testing.B) {
		e := failsafeStack(true)
		for b.Loop() {
			_, _ = e.GetWithExecution(func(failsafe.Execution[any]) (any, error) { return 1, nil })
		}
	})
}

func BenchmarkParallelChain(b *testing.B) {
	ctx := context.Background()
	ours, theirs := tholeStack(tholeRow(), true), failsafeStack(true)
	libraries, byHand := newComposed(true), newLean(true)
	parallel(b, "thole", func() { _ = ours.Do(ctx, succeed) })
	parallel(b, "failsafe-go", func() { _ = theirs.RunWithExecution(failsafeSucceed) })
	parallel(b, "good_libraries_composed", func() { _ = libraries.Do(ctx, succeed) })
	parallel(b, "hand-written,_lean", func() { _ = byHand.Do(ctx, succeed) })
}
