package ratelimit_test

import (
	"context"
	"fmt"
	"math/big"
	"math/rand/v2"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

const day = 24 * time.Hour

// rates are those with whole periods, with fractions, and with numbers that only the slow way
// can count.
var rates = []ratelimit.Rate{
	ratelimit.Per(100, time.Second),
	ratelimit.Per(3, time.Second),
	ratelimit.Per(7, time.Microsecond),
	ratelimit.Per(1, time.Nanosecond),
	ratelimit.Per(2, 3*time.Nanosecond),
	ratelimit.Per(333_333, time.Second),
	ratelimit.Per(999_999_937, time.Second),
	ratelimit.Per(999_999_937, 100_000_000*time.Second),
	ratelimit.Per(1, time.Hour),
	ratelimit.Per(11, 400*day),
	ratelimit.Per(1_000_000_007, 90*365*day),
}

// event is a call that went ahead.
type event struct {
	at time.Duration
	n  int
}

// requireBound checks, for every interval from one event to another, that it has at most
// Burst + Rate × t tokens, where t counts the readings of the clock in it (so one nanosecond
// for a single instant); where the period is a whole number of nanoseconds, at most Burst +
// Rate × the difference.
func requireBound(t *testing.T, r ratelimit.Rate, burst int, events []event) {
	t.Helper()
	slack := int64(1)
	if int64(r.Per)%int64(r.Count) == 0 {
		slack = 0
	}
	count, per := big.NewInt(int64(r.Count)), big.NewInt(int64(r.Per))
	for i := range events {
		sum := int64(0)
		for j := i; j < len(events); j++ {
			sum += int64(events[j].n)
			if sum <= int64(burst) {
				continue
			}
			over := new(big.Int).Mul(big.NewInt(sum-int64(burst)), per)
			most := new(big.Int).Mul(big.NewInt(int64(events[j].at-events[i].at)+slack), count)
			if over.Cmp(most) > 0 {
				require.Fail(t, "too many", "%v burst %d: %d tokens from %d to %d ns", r, burst, sum, events[i].at, events[j].at)
			}
		}
	}
}

// reference is the plain bucket: a level which refill raises, in whole numbers of any size. A
// token is per units, a nanosecond's refill count units.
type reference struct {
	count, per, full, level *big.Int
	last                    time.Duration
}

func newReference(r ratelimit.Rate, burst int) *reference {
	m := &reference{count: big.NewInt(int64(r.Count)), per: big.NewInt(int64(r.Per))}
	m.full = new(big.Int).Mul(big.NewInt(int64(burst)), m.per)
	m.level = new(big.Int).Set(m.full)
	return m
}

func (m *reference) allow(n int, now time.Duration) bool {
	level := new(big.Int).Mul(big.NewInt(int64(now-m.last)), m.count)
	level.Add(level, m.level)
	// What comes within the nanosecond in which the bucket gets full is not lost.
	if level.Cmp(new(big.Int).Add(m.full, m.count)) >= 0 {
		level.Set(m.full)
	}
	level.Sub(level, new(big.Int).Mul(big.NewInt(int64(n)), m.per))
	if level.Sign() < 0 {
		return false
	}
	m.level, m.last = level, now
	return true
}

// step is a pause of a random kind: none, a nanosecond, about a period, much more.
func step(rng *rand.Rand, r ratelimit.Rate) time.Duration {
	period := max(int64(r.Per)/int64(r.Count), 1)
	switch rng.IntN(10) {
	case 0, 1, 2:
		return 0
	case 3:
		return 1
	case 4, 5:
		return time.Duration(period + rng.Int64N(3) - 1)
	case 9:
		if rng.IntN(20) == 0 {
			return time.Duration(rng.Int64N(int64(100 * day)))
		}
	}
	return time.Duration(rng.Int64N(min(3*period, int64(100*day))))
}

func TestTokenBucket_rule28_agreesWithAPlainBucketAndKeepsTheBound(t *testing.T) {
	for i, r := range rates {
		for seed := range uint64(6) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				burst := 1 + rng.IntN(4)*rng.IntN(3)
				if float64(burst)*float64(r.Per)/float64(r.Count) > float64(90*365*day) {
					burst = 1
				}
				l, model, start := bucket(r, burst), newReference(r, burst), time.Now()
				var events []event
				for range 500 {
					time.Sleep(step(rng, r))
					now, n := time.Since(start), 1+rng.IntN(burst)
					got := l.AllowN(n)
					require.Equal(t, model.allow(n, now), got, "%v burst %d, %d tokens at %d", r, burst, n, now)
					if got {
						events = append(events, event{now, n})
					}
				}
				requireBound(t, r, burst, events)
				require.Equal(t, len(events), l.Stats().Admitted)
			})
		}
	}
}

func TestTokenBucket_rule28_pacedAtExactlyThePeriodIsNeverRefused(t *testing.T) {
	for _, r := range rates {
		for _, empty := range []bool{false, true} {
			synctest.Test(t, func(t *testing.T) {
				l := bucket(r, 1)
				time.Sleep(12345 * time.Nanosecond)
				start, from := time.Now(), int64(0)
				if empty {
					require.True(t, l.Allow())
					from = 1
				}
				for k := from; k < 3000; k++ {
					// ⌈k × Per / Count⌉
					at := new(big.Int).Mul(big.NewInt(k), big.NewInt(int64(r.Per)))
					at.Add(at, big.NewInt(int64(r.Count)-1)).Div(at, big.NewInt(int64(r.Count)))
					if at.Cmp(big.NewInt(int64(80*365*day))) > 0 {
						break
					}
					time.Sleep(time.Duration(at.Int64()) - time.Since(start))
					require.True(t, l.Allow(), "%v: call %d", r, k)
				}
			})
		}
	}
}

func TestTokenBucket_rule28_sleepingRetryAfterAdmitsAndOneLessNever(t *testing.T) {
	for i, r := range rates {
		synctest.Test(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(1, uint64(i)))
			l := bucket(r, 1)
			for range 60 {
				err := l.Do(t.Context(), nothing)
				if err == nil {
					continue
				}
				left, _ := thole.RetryAfter(err)
				require.Positive(t, left)
				if left > 400*day {
					break
				}
				early := time.Duration(rng.Int64N(int64(left)))
				time.Sleep(early)
				require.False(t, l.Allow())
				time.Sleep(left - early - 1)
				require.False(t, l.Allow(), "%v: 1 ns too early", r)
				time.Sleep(1)
				require.True(t, l.Allow(), r)
			}
		})
	}
}

// Whatever is done, who acts when told keeps the bound; a waiter gets its turn, and in order.
func TestTokenBucket_rule28_boundHoldsWithWaitsReservationsAndCancels(t *testing.T) {
	for i, r := range rates[:8] {
		for seed := range uint64(12) {
			synctest.Test(t, func(t *testing.T) { actors(t, rand.New(rand.NewPCG(seed, uint64(i))), r) })
		}
	}
}

func actors(t *testing.T, rng *rand.Rand, r ratelimit.Rate) {
	burst := 1 + rng.IntN(4)
	l, start := bucket(r, burst), time.Now()
	var mu sync.Mutex
	var events []event
	act := func(n int) {
		mu.Lock()
		defer mu.Unlock()
		events = append(events, event{time.Since(start), n})
	}
	var all sync.WaitGroup
	for range 150 {
		n := 1 + rng.IntN(burst)
		switch rng.IntN(4) {
		case 0:
			if l.AllowN(n) {
				act(n)
			}
		case 1:
			ctx, cancel := context.WithCancel(t.Context())
			if rng.IntN(2) == 0 {
				ctx, cancel = context.WithTimeout(t.Context(), 1+10*step(rng, r))
			}
			after := step(rng, r)
			all.Go(func() {
				defer cancel()
				if l.WaitN(ctx, n) == nil {
					act(n)
				}
			})
			if rng.IntN(3) == 0 {
				all.Go(func() { time.Sleep(after); cancel() })
			}
		default:
			res := l.Reserve(n)
			require.True(t, res.OK())
			after, early, twice := step(rng, r), rng.IntN(2) == 0, rng.IntN(2) == 0
			all.Go(func() {
				if early { // cancelled at some time, due or not
					time.Sleep(after)
					res.Cancel()
					if twice {
						res.Cancel()
					}
					return
				}
				time.Sleep(res.Delay())
				act(n)
			})
		}
		synctest.Wait()
		time.Sleep(step(rng, r))
	}
	all.Wait()
	requireBound(t, r, burst, events)
	s := l.Stats()
	assert.Zero(t, s.Waiting+s.Promised)
}

// Two buckets live the same life, but for reservations and waits that one of them has besides
// and which end before their time.
func TestTokenBucket_rule30_cancelledIsAsIfItHadNeverBeen(t *testing.T) {
	for i, r := range rates[:8] {
		for seed := range uint64(10) {
			synctest.Test(t, func(t *testing.T) {
				rng := rand.New(rand.NewPCG(seed, uint64(i)))
				burst := 1 + rng.IntN(5)
				l, twin := bucket(r, burst), bucket(r, burst)
				for range 100 {
					var rs []*ratelimit.Reservation
					ctx, cancel := context.WithCancel(t.Context())
					done := make(chan error, 10)
					waits := rng.IntN(3)
					for range rng.IntN(6) {
						rs = append(rs, l.Reserve(1+rng.IntN(burst)))
					}
					for range waits {
						go func() { done <- l.WaitN(ctx, burst) }()
					}
					synctest.Wait()
					served := len(done)
					rng.Shuffle(len(rs), func(i, j int) { rs[i], rs[j] = rs[j], rs[i] })
					for _, res := range rs {
						res.Cancel()
						res.Cancel()
						served = max(served, len(done))
					}
					cancel()
					for range waits {
						if <-done == nil {
							require.True(t, twin.AllowN(burst), "%v seed %d", r, seed)
						}
					}
					require.Equal(t, twin.Stats().Available, l.Stats().Available, "%v seed %d", r, seed)
					n := 1 + rng.IntN(burst)
					require.Equal(t, twin.AllowN(n), l.AllowN(n))
					require.Equal(t, twin.Reserve(0).Delay(), l.Reserve(0).Delay())
					time.Sleep(step(rng, r))
				}
			})
		}
	}
}

func TestTokenBucket_rule31_changingTheRateRetimesWaiters(t *testing.T) {
	for _, c := range []struct {
		to   ratelimit.Rate
		want time.Duration // of the second of two waiters, from the change on
	}{
		{ratelimit.Per(100, time.Second), 15 * time.Millisecond}, // half a token is there
		{ratelimit.Per(1, time.Second), 1500 * time.Millisecond},
		{ratelimit.Per(3, time.Second), 500 * time.Millisecond},
		{ratelimit.Per(999_999_937, 100_000_000*time.Second), 150000010}, // 9.99999937 per second
		{ratelimit.Unlimited, 0},
	} {
		t.Run(fmt.Sprint(c.to), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := bucket(ratelimit.Per(10, time.Second), 1)
				require.True(t, l.Allow())
				first := in(func() error { return l.Wait(t.Context()) })
				second := in(func() error { return l.Wait(t.Context()) })
				time.Sleep(tick / 2)
				require.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Rate: c.to}))
				if c.want > 0 {
					time.Sleep(c.want - 1)
					blocked(t, second)
					time.Sleep(1)
				}
				assert.NoError(t, result(t, first))
				assert.NoError(t, result(t, second))
			})
		})
	}
}

func TestTokenBucket_rule31_whoCannotBeServedInTimeAfterAChangeIsRefused(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bucket(ratelimit.Per(10, time.Second), 2)
		drain(l)
		ctx, cancel := context.WithTimeout(t.Context(), 5*time.Second)
		defer cancel()
		patient := in(func() error { return l.Wait(t.Context()) })
		hasty := in(func() error { return l.Wait(ctx) })
		large := in(func() error { return l.WaitN(t.Context(), 2) })
		require.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, 4*time.Second)}))
		assert.ErrorIs(t, result(t, hasty), ratelimit.ErrLimited)
		assert.ErrorIs(t, result(t, large), ratelimit.ErrBurst)
		blocked(t, patient)
		require.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second)}))
		assert.ErrorIs(t, result(t, patient), ratelimit.ErrLimited)
	})
}

func TestTokenBucket_reconfigureKeepsTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := bucket(ratelimit.Per(10, time.Second), 10)
		require.True(t, l.AllowN(4))
		for _, c := range []struct {
			rate        ratelimit.Rate
			burst, want int
		}{
			{ratelimit.Per(3, time.Second), 10, 6},
			{ratelimit.Per(999_999_937, 100_000_000*time.Second), 20, 6},
			{ratelimit.Per(7, time.Microsecond), 5, 5},
			{ratelimit.Per(1, time.Hour), 50, 5},
			{ratelimit.Unlimited, 1, 1<<63 - 1},
			{ratelimit.Per(1, time.Hour), 3, 3},
			{ratelimit.Per(0, time.Hour), 3, 0},
			{ratelimit.Per(1, time.Hour), 3, 0},
		} {
			require.NoError(t, l.Reconfigure(ratelimit.TokenBucketConfig{Name: "api", Rate: c.rate, Burst: c.burst}))
			assert.Equal(t, c.want, l.Stats().Available, "%v burst %d", c.rate, c.burst)
			assert.Equal(t, c.rate.String(), l.Describe().Settings[1].Value)
		}
		time.Sleep(time.Hour)
		assert.Equal(t, 1, drain(l))
		err := l.Reconfigure(ratelimit.TokenBucketConfig{Name: "other"})
		assert.ErrorContains(t, err, "ratelimit: Rate is zero")
		assert.Equal(t, "ratelimit[api]", l.String(), "a bad config changes nothing")
	})
}

func TestTokenBucket_rule32_zeroDeniesAllUnlimitedAdmitsAll(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		none := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second), Burst: 5, MaxWait: -1})
		all := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Unlimited})
		for range 100 {
			assert.False(t, none.Allow())
			err := none.Do(t.Context(), nothing)
			assert.ErrorIs(t, err, ratelimit.ErrLimited)
			left, _ := thole.RetryAfter(err)
			assert.Greater(t, left, 50*365*day)
			assert.ErrorIs(t, none.Wait(t.Context()), ratelimit.ErrLimited)
			assert.False(t, none.Reserve(1).OK())

			assert.True(t, all.AllowN(1_000_000))
			assert.NoError(t, all.WaitN(t.Context(), 1_000_000))
			assert.NoError(t, all.Do(t.Context(), nothing))
			r := all.Reserve(1_000_000)
			assert.True(t, r.OK())
			assert.Zero(t, r.Delay())
			r.Cancel()
			time.Sleep(day)
		}
		assert.False(t, none.InUse())
		assert.False(t, all.InUse())
		assert.Equal(t, 400, all.Stats().Admitted)
	})
}
