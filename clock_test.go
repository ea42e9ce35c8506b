package thole_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/timeout"
)

// reader is a Timed policy and a Gate that notes what the clock says.
type reader struct {
	base time.Time
	log  *[]time.Duration
}

func (r *reader) Do(ctx context.Context, fn func(context.Context) error) error {
	return r.DoTimed(ctx, fn, nil)
}

func (r *reader) DoTimed(ctx context.Context, fn func(context.Context) error, clock *thole.Clock) error {
	*r.log = append(*r.log, clock.Since(r.base))
	err := fn(ctx)
	clock.Forget()
	return err
}

func (r *reader) Describe() thole.Description {
	return thole.Description{Kind: "reader", Blocking: true}
}

type readerGate struct{ r *reader }

func (g readerGate) Do(ctx context.Context, fn func(context.Context) error) error {
	return thole.Pass(ctx, g, fn)
}

func (g readerGate) Enter(_ context.Context, clock *thole.Clock) (thole.Ticket, error) {
	*g.r.log = append(*g.r.log, clock.Since(g.r.base))
	return thole.Ticket{}, nil
}

func (g readerGate) Leave(_ context.Context, _ thole.Ticket, _ error, clock *thole.Clock) {
	*g.r.log = append(*g.r.log, clock.Since(g.r.base))
}

func (g readerGate) Describe() thole.Description {
	return thole.Description{Kind: "reader gate", Blocking: true}
}

// sleeper takes a second before and after, and knows nothing of the clock.
type sleeper struct{ twice bool }

func (s sleeper) Do(ctx context.Context, fn func(context.Context) error) error {
	time.Sleep(time.Second)
	defer time.Sleep(time.Second)
	if s.twice {
		if err := fn(ctx); err != nil {
			return err
		}
		time.Sleep(time.Second)
	}
	return fn(ctx)
}

func (sleeper) Describe() thole.Description {
	return thole.Description{Kind: "sleeper", Blocking: true}
}

func TestChain_theSharedClockIsNeverStale(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []time.Duration
		// A minute before the chain, whose own base is then another.
		r := &reader{base: time.Now().Add(-time.Minute), log: &log}
		keyed := func(p thole.Policy) thole.Policy { return thole.PerTarget(func(string) thole.Policy { return p }) }
		plain := thole.Chain(r, readerGate{r}, readerGate{r}, sleeper{twice: true}, r, readerGate{r}, readerGate{r})
		perTarget := thole.Chain(keyed(r), readerGate{r}, keyed(readerGate{r}), keyed(sleeper{twice: true}), keyed(r), keyed(readerGate{r}), readerGate{r})
		time.Sleep(time.Hour)
		work := func(context.Context) error { time.Sleep(10 * time.Second); return nil }
		for _, p := range []thole.Policy{plain, plain, perTarget, perTarget} {
			log = nil
			start := time.Since(r.base)
			require.NoError(t, p.Do(t.Context(), work))
			var got []time.Duration
			for _, at := range log {
				got = append(got, at-start)
			}
			s := time.Second
			assert.Equal(t, []time.Duration{
				0, 0, 0, // in
				s, s, s, 11 * s, 11 * s, // the first run, after a second
				12 * s, 12 * s, 12 * s, 22 * s, 22 * s, // the second, after another
				23 * s, 23 * s, // out
			}, got)
		}
	})
}

func TestChain_aTimeLimitThatHasPassedIsSeenByTheSharedClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []time.Duration
		r := &reader{base: time.Now(), log: &log}
		p := thole.Chain(timeout.New(timeout.Config{Limit: time.Second}), sleeper{}, readerGate{r}, readerGate{r})
		err := p.Do(t.Context(), func(context.Context) error { t.Error("fn ran"); return nil })
		require.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Empty(t, log)
	})
}

func TestClock_nilReadsAnew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var c *thole.Clock
		base := time.Now()
		time.Sleep(time.Second)
		assert.Equal(t, time.Second, c.Since(base))
		c.Forget()
		assert.NoError(t, c.Err(t.Context()))
	})
}

// A key's policy may take long to make, and so may the key: what is read of the clock before
// that must not shorten the time limit of a policy inside.
func TestKeyed_theSharedClockIsNotStaleOnceTheKeyAndItsPolicyAreThere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var log []time.Duration
		r := &reader{base: time.Now(), log: &log}
		s := time.Second
		slowKey := func(context.Context) int { time.Sleep(s); return 1 }
		slowMake := func(string) thole.Policy { time.Sleep(s); return readerGate{r} }
		run := func(p thole.Policy) []time.Duration {
			log = nil
			start := time.Since(r.base)
			require.NoError(t, p.Do(t.Context(), func(context.Context) error { return nil }))
			for i := range log {
				log[i] -= start
			}
			return log
		}
		p := thole.Chain(r, thole.PerTarget(slowMake), readerGate{r})
		assert.Equal(t, []time.Duration{0, s, s, s, s}, run(p))
		assert.Equal(t, []time.Duration{0, 0, 0, 0, 0}, run(p), "made already")
		p = thole.Chain(r, thole.Keyed(slowKey, func(int) thole.Policy { return readerGate{r} }, thole.KeyedConfig{}), readerGate{r})
		for range 2 {
			assert.Equal(t, []time.Duration{0, s, s, s, s}, run(p))
		}
	})
}

// A key's policy that knows nothing of the clock may run what is inside once more, much later: a
// time limit in there began with the first run, and the second had no time left.
func TestKeyed_whatIsInsideRunsTwiceAndReadsTheClockTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		chain := thole.Chain(
			thole.PerTarget(func(string) thole.Policy { return sleeper{twice: true} }),
			timeout.New(timeout.Config{Limit: 1500 * time.Millisecond}))
		for range 2 { // the first makes the key's policy
			var left []time.Duration
			require.NoError(t, chain.Do(t.Context(), func(ctx context.Context) error {
				deadline, _ := ctx.Deadline()
				left = append(left, time.Until(deadline))
				time.Sleep(time.Second)
				return nil
			}))
			assert.Equal(t, []time.Duration{1500 * time.Millisecond, 1500 * time.Millisecond}, left)
		}
	})
}

// A breaker's hook may take its time, on the way in too.
func TestBreaker_aHookThatTakesLongLeavesNoStaleClock(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{
			ConsecutiveFailures: 1, OpenFor: time.Second,
			OnStateChange: func(_, to breaker.State) {
				if to == breaker.HalfOpen {
					time.Sleep(time.Second)
				}
			},
		})
		require.Error(t, b.Do(t.Context(), func(context.Context) error { return errors.New("down") }))
		time.Sleep(time.Second)
		chain := thole.Chain(b, timeout.New(timeout.Config{Limit: time.Minute}))
		require.NoError(t, chain.Do(t.Context(), func(ctx context.Context) error {
			deadline, _ := ctx.Deadline()
			assert.Equal(t, time.Minute, time.Until(deadline))
			return nil
		}))
	})
}
