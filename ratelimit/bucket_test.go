package ratelimit_test

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

func bucket(r ratelimit.Rate, burst int) *ratelimit.TokenBucket {
	return ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Name: "api", Rate: r, Burst: burst})
}

func window(limit int, d time.Duration, exact bool) *ratelimit.SlidingWindow {
	return ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Name: "api", Limit: limit, Window: d, Exact: exact})
}

// limiter is what the two have in common.
type limiter interface {
	thole.Gate
	Allow() bool
	AllowN(int) bool
	Wait(context.Context) error
	WaitN(context.Context, int) error
	Stats() ratelimit.Stats
	InUse() bool
	String() string
	Describe() thole.Description
}

// each runs f in a bubble with every kind of limiter that gives 2 tokens at once and then
// none for at least 100 ms.
func each(t *testing.T, f func(t *testing.T, l limiter)) {
	for name, make := range map[string]func() limiter{
		"bucket":   func() limiter { return bucket(ratelimit.Per(10, time.Second), 2) },
		"odd":      func() limiter { return bucket(ratelimit.Per(999_999_937, 100_000_000*time.Second), 2) }, // slow way only
		"exact":    func() limiter { return window(2, 200*time.Millisecond, true) },
		"estimate": func() limiter { return window(2, 200*time.Millisecond, false) },
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { f(t, make()) })
		})
	}
}

func drain(l limiter) (n int) {
	for l.Allow() {
		n++
	}
	return n
}

func nothing(context.Context) error { return nil }

// in starts f in a goroutine, waits until it blocks, and returns where its result comes.
func in(f func() error) <-chan error {
	done := make(chan error, 1)
	go func() { done <- f() }()
	synctest.Wait()
	return done
}

func blocked(t *testing.T, done <-chan error) {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		require.Fail(t, "not waiting any more", "%v", err)
	default:
	}
}

func result(t *testing.T, done <-chan error) error {
	t.Helper()
	synctest.Wait()
	select {
	case err := <-done:
		return err
	default:
		require.Fail(t, "still waiting")
		return nil
	}
}

func TestLimiter_rule01_panicGoexitAndNilFuncLeaveItWhole(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		assert.PanicsWithValue(t, "boom", func() { _ = l.Do(t.Context(), func(context.Context) error { panic("boom") }) })
		done := make(chan struct{})
		go func() {
			defer close(done)
			_ = l.Do(t.Context(), func(context.Context) error { runtime.Goexit(); return nil })
		}()
		<-done
		assert.False(t, l.Allow(), "both spent their tokens")
		time.Sleep(time.Second)
		assert.Panics(t, func() { _ = l.Do(t.Context(), nil) })
		time.Sleep(time.Second)
		assert.Equal(t, 2, drain(l))
	})
}

func TestLimiter_rule02_nothingIsLeftOver(t *testing.T) {
	each(t, func(t *testing.T, l limiter) { // the bubble fails on a goroutine left over
		drain(l)
		ctx, cancel := context.WithCancel(t.Context())
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() { _ = l.Wait(ctx) })
		}
		time.Sleep(500 * time.Millisecond)
		cancel()
		all.Wait()
		assert.Zero(t, l.Stats().Waiting)
	})
}

func TestLimiter_rule03_fnMayCallTheLimiter(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		require.NoError(t, l.Do(t.Context(), func(ctx context.Context) error {
			assert.Equal(t, 1, l.Stats().Admitted)
			assert.Equal(t, "ratelimit[api]", l.Describe().String())
			return l.Do(ctx, nothing)
		}))
		err := l.Do(t.Context(), nothing)
		_, ok := thole.RetryAfter(err)
		assert.True(t, ok)
	})
}

func TestLimiter_rule04_oneInstanceInManyChains(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		a, b := thole.Chain(l), thole.Chain(thole.Chain(l))
		require.NoError(t, a.Do(t.Context(), nothing))
		require.NoError(t, b.Do(t.Context(), nothing))
		assert.ErrorIs(t, a.Do(t.Context(), nothing), ratelimit.ErrLimited)
		assert.ErrorIs(t, b.Do(t.Context(), nothing), ratelimit.ErrLimited)
	})
}

func TestLimiter_rule06_cancellationIsPromptAndGivesThePlaceBack(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		drain(l)
		cause := errors.New("client gone")
		ctx, cancel := context.WithCancelCause(t.Context())
		first := in(func() error { return l.WaitN(ctx, 2) })
		start := time.Now()
		cancel(cause)
		err := result(t, first)
		assert.Zero(t, time.Since(start))
		assert.ErrorIs(t, err, context.Canceled)
		assert.ErrorIs(t, err, cause)
		assert.ErrorIs(t, err, thole.ErrRejected)
		assert.ErrorIs(t, err, ratelimit.ErrLimited)
		reason, _ := thole.ReasonOf(err)
		assert.Equal(t, thole.ReasonWait, reason)
		assert.Contains(t, err.Error(), "ratelimit[api]")

		time.Sleep(time.Second)
		assert.Equal(t, 2, drain(l), "as if nobody had waited")
	})
}

func TestLimiter_rule07_baseIsPerInstance(t *testing.T) {
	outside := bucket(ratelimit.Per(1, time.Hour), 1) // uses the real clock
	assert.True(t, outside.Allow())
	assert.False(t, outside.Allow())
	each(t, func(t *testing.T, l limiter) { // the year 2000
		assert.Equal(t, 2, drain(l))
		time.Sleep(40 * 365 * 24 * time.Hour)
		assert.Equal(t, 2, drain(l))
		time.Sleep(40 * 365 * 24 * time.Hour)
		assert.Equal(t, 2, drain(l))
	})
}

func TestLimiter_rule30_rejectedCallConsumesNothing(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		require.True(t, l.Allow())
		for range 1000 {
			require.False(t, l.AllowN(2))
			require.False(t, l.AllowN(3))
			require.False(t, l.AllowN(-1))
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Nanosecond)
		defer cancel()
		assert.ErrorIs(t, l.WaitN(ctx, 2), ratelimit.ErrLimited)
		assert.True(t, l.Allow(), "the second token is still there")
	})
}

func TestLimiter_contextDoneOnEntryTakesNothing(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		assert.Equal(t, context.Canceled, l.Wait(ctx))
		assert.Equal(t, context.Canceled, l.Do(ctx, func(context.Context) error { panic("ran") }))
		assert.Equal(t, 2, drain(l))
	})
}

func TestLimiter_waitRefusesAtOnceWhatTheDeadlineCannotMeet(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		drain(l)
		start := time.Now()
		ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
		defer cancel()
		err := l.Wait(ctx)
		assert.Zero(t, time.Since(start))
		assert.ErrorIs(t, err, ratelimit.ErrLimited)
		assert.ErrorIs(t, err, thole.ErrRejected)
		assert.NotErrorIs(t, err, context.DeadlineExceeded)
		var limit *ratelimit.LimitError
		require.ErrorAs(t, err, &limit)
		assert.Equal(t, "api", limit.Name)
		assert.GreaterOrEqual(t, limit.RetryAfter(), 100*time.Millisecond)

		// Behind somebody in line as well.
		first := in(func() error { return l.WaitN(t.Context(), 2) })
		second, cancel := context.WithTimeout(t.Context(), 201*time.Millisecond)
		defer cancel()
		start = time.Now()
		assert.ErrorIs(t, l.WaitN(second, 2), ratelimit.ErrLimited)
		assert.Zero(t, time.Since(start))
		assert.NoError(t, <-first)
	})
}

// A token that comes with the deadline comes too late, whichever timer fires first.
func TestLimiter_tokenAtTheDeadlineIsTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for range 20 {
			l := bucket(ratelimit.Per(10, time.Second), 1)
			drain(l)
			start := time.Now()
			ctx, cancel := context.WithTimeout(t.Context(), tick)
			assert.ErrorIs(t, l.Wait(ctx), ratelimit.ErrLimited)
			cancel()
			assert.Zero(t, time.Since(start))
			ctx, cancel = context.WithTimeout(t.Context(), tick+1)
			assert.NoError(t, l.Wait(ctx))
			cancel()
		}
	})
}

func TestLimiter_rule31_waitersAreServedInOrder(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		drain(l)
		var order []int
		var mu sync.Mutex
		var all sync.WaitGroup
		for i := range 8 {
			all.Go(func() {
				assert.NoError(t, l.WaitN(t.Context(), 1+i%2)) // a small one never passes a large one
				mu.Lock()
				order = append(order, i)
				mu.Unlock()
			})
			synctest.Wait()
		}
		assert.Equal(t, 8, l.Stats().Waiting)
		assert.True(t, l.InUse())
		for range 30 {
			time.Sleep(37 * time.Millisecond)
			if l.Stats().Waiting > 0 {
				assert.False(t, l.Allow(), "nobody passes those in line")
			}
		}
		time.Sleep(5 * time.Second)
		all.Wait()
		assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7}, order)
	})
}

func TestLimiter_rule31_moreThanBurstHasItsOwnError(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		for _, n := range []int{3, -1, 1 << 62, -1 << 63} {
			err := l.WaitN(t.Context(), n)
			assert.ErrorIs(t, err, ratelimit.ErrBurst)
			assert.ErrorIs(t, err, thole.ErrRejected)
			assert.NotErrorIs(t, err, ratelimit.ErrLimited)
			_, retry := thole.RetryAfter(err)
			assert.False(t, retry, "waiting does not help")
			reason, _ := thole.ReasonOf(err)
			assert.Equal(t, thole.ReasonBurst, reason)
			assert.Contains(t, err.Error(), "ratelimit[api]")
			assert.False(t, l.AllowN(n))
		}
		for range 10 {
			assert.True(t, l.AllowN(0))
			assert.NoError(t, l.WaitN(t.Context(), 0))
		}
		assert.Equal(t, 2, drain(l))
		assert.True(t, l.AllowN(0))
	})
}

// A call of no tokens is always admitted, and no call at all in the counts.
func TestLimiter_noTokenIsNotCounted(t *testing.T) {
	ask := func(t *testing.T, l limiter) {
		before := l.Stats()
		assert.True(t, l.AllowN(0))
		assert.NoError(t, l.WaitN(t.Context(), 0))
		assert.Equal(t, before, l.Stats())
	}
	each(t, func(t *testing.T, l limiter) {
		ask(t, l)
		drain(l)
		waiting := in(func() error { return l.Wait(t.Context()) })
		ask(t, l)
		assert.NoError(t, <-waiting)
	})
	ask(t, bucket(ratelimit.Per(0, time.Second), 1))
	ask(t, bucket(ratelimit.Unlimited, 1))
}

func TestLimiter_oneErrorServesAllAndTellsTheTimeWhenAsked(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		drain(l)
		a, b := l.Do(t.Context(), nothing), l.Do(t.Context(), nothing)
		assert.Same(t, a, b)
		left, ok := thole.RetryAfter(a)
		require.True(t, ok)
		require.Greater(t, left, 60*time.Millisecond)
		time.Sleep(60 * time.Millisecond)
		later, _ := thole.RetryAfter(a)
		assert.Equal(t, left-60*time.Millisecond, later)
		time.Sleep(later)
		later, _ = thole.RetryAfter(a)
		assert.Zero(t, later)
		reason, _ := thole.ReasonOf(a)
		assert.Equal(t, thole.ReasonLimited, reason)
		assert.Equal(t, "ratelimit[api]: limit exceeded", a.Error())
	})
}

// The waiters ahead are counted in RetryAfter.
func TestLimiter_rule28_sleepingRetryAfterBehindOthersAdmits(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		err := error(nil)
		for err == nil {
			err = l.Do(t.Context(), nothing)
		}
		first := in(func() error { return l.WaitN(t.Context(), 2) })
		second := in(func() error { return l.Wait(t.Context()) })
		left, _ := thole.RetryAfter(err)
		time.Sleep(left - 1)
		assert.False(t, l.Allow())
		time.Sleep(1)
		assert.True(t, l.Allow())
		assert.NoError(t, <-first)
		assert.NoError(t, <-second)
	})
}

func TestLimiter_statsInUseDescribe(t *testing.T) {
	each(t, func(t *testing.T, l limiter) {
		assert.False(t, l.InUse())
		assert.Equal(t, ratelimit.Stats{Available: 2}, l.Stats())
		require.NoError(t, l.Do(t.Context(), nothing))
		assert.True(t, l.InUse())
		assert.Equal(t, ratelimit.Stats{Available: 1, Admitted: 1}, l.Stats())
		require.NoError(t, l.Do(t.Context(), nothing))
		require.Error(t, l.Do(t.Context(), nothing))
		assert.Equal(t, ratelimit.Stats{Admitted: 2, Rejected: 1}, l.Stats())
		time.Sleep(time.Second)
		assert.False(t, l.InUse())
		assert.Equal(t, "ratelimit[api]", l.String())
		d := l.Describe()
		assert.True(t, d.Blocking)
		assert.Equal(t, l.String(), d.String())
	})
}

func TestLimiter_maxWait(t *testing.T) {
	for _, c := range []struct {
		name    string
		maxWait time.Duration
		waits   int // of five calls at once, each 100 ms behind the other
	}{
		{"none", 0, 0},
		{"exactly two periods", 200 * time.Millisecond, 2},
		{"a nanosecond less", 200*time.Millisecond - 1, 1},
		{"as long as ctx allows", -1, 5},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Second), MaxWait: c.maxWait})
				require.NoError(t, l.Do(t.Context(), nothing))
				results := make(chan error, 5)
				for range 5 {
					go func() { results <- l.Do(t.Context(), nothing) }()
				}
				synctest.Wait()
				assert.Len(t, results, 5-c.waits, "those that cannot be served in time are refused at once")
				for range 5 - c.waits {
					assert.ErrorIs(t, <-results, ratelimit.ErrLimited)
				}
				start := time.Now()
				for range c.waits {
					assert.NoError(t, <-results)
				}
				assert.Equal(t, time.Duration(c.waits)*100*time.Millisecond, time.Since(start))
				d := l.Describe()
				assert.Equal(t, c.maxWait, d.MaxWait)
				told := c.maxWait.String()
				if c.maxWait < 0 {
					told = "unbounded"
				}
				assert.Contains(t, d.Settings, thole.Setting{Key: "MaxWait", Value: told})
			})
		})
	}
}

func TestLimiter_shadowLetsThroughAndCounts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, l := range []limiter{
			ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Second), Burst: 2, Shadow: true}),
			ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Limit: 2, Window: 200 * time.Millisecond, Shadow: true}),
		} {
			start := time.Now()
			for range 3 {
				assert.True(t, l.Allow())
				assert.NoError(t, l.Do(t.Context(), nothing))
			}
			assert.NoError(t, l.WaitN(t.Context(), 3))
			assert.Equal(t, 2, l.Stats().Admitted)
			assert.Equal(t, 5, l.Stats().Rejected)
			assert.Zero(t, time.Since(start))
		}
		b := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Second), MaxWait: 200 * time.Millisecond, Shadow: true})
		for range 5 { // one at once, two that would wait, two refused
			assert.NoError(t, b.Do(t.Context(), nothing))
		}
		assert.Equal(t, ratelimit.Stats{Admitted: 3, Rejected: 2, Promised: 2}, b.Stats())
		r := b.Reserve(1)
		assert.True(t, r.OK())
		assert.Zero(t, r.Delay())
	})
}
