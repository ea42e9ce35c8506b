package ratelimit_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/ratelimit"
)

const tick = 100 * time.Millisecond // the period of ten per second

func TestReservation_delayAndOK(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 2)
		first, second := b.Reserve(2), b.Reserve(1)
		assert.Zero(t, first.Delay())
		assert.Equal(t, tick, second.Delay())
		assert.Equal(t, 1, b.Stats().Promised)
		assert.False(t, b.Allow())
		time.Sleep(30 * time.Millisecond)
		assert.Equal(t, 70*time.Millisecond, second.Delay())
		time.Sleep(70 * time.Millisecond)
		assert.Zero(t, second.Delay())
		assert.False(t, b.Allow(), "the token is the reservation's")
		time.Sleep(tick)
		assert.True(t, b.Allow())

		for _, n := range []int{3, -1} {
			r := b.Reserve(n)
			assert.False(t, r.OK())
			assert.Greater(t, r.Delay(), 50*365*24*time.Hour)
			r.Cancel()
		}
		none := b.Reserve(0)
		assert.True(t, none.OK())
		assert.Zero(t, none.Delay())
		none.Cancel()
		none.Cancel()
		time.Sleep(time.Second)
		assert.Equal(t, 2, b.Stats().Available)
	})
}

// Every order of cancelling, each twice, at once and later, leaves all tokens.
func TestReservation_rule30_cancelInAnyOrderAndTwice(t *testing.T) {
	orders := [][]int{{0, 1, 2, 3}, {3, 2, 1, 0}, {1, 3, 0, 2}, {2, 0, 3, 1}, {1, 2, 3, 0}, {0, 3, 1, 2}}
	for _, order := range orders {
		for _, pause := range []time.Duration{0, 1, 17 * time.Millisecond} {
			synctest.Test(t, func(t *testing.T) {
				b := bucket(ratelimit.Per(30, time.Second), 3)
				var rs []*ratelimit.Reservation
				for range 4 { // two at once, two later
					rs = append(rs, b.Reserve(1))
					time.Sleep(pause)
				}
				for _, i := range order {
					rs[i].Cancel()
					rs[i].Cancel()
					time.Sleep(pause)
					assert.LessOrEqual(t, b.Stats().Available, 3)
				}
				assert.Equal(t, 3, b.Stats().Available, "%v %v", order, pause)
				assert.False(t, b.InUse())
				assert.Equal(t, 3, drain(b), "and not more than burst")
			})
		}
	}
}

func TestReservation_rule30_cancelledInTheMiddleLeavesAHoleForTheNext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 1)
		require.True(t, b.Allow())
		a, m, z := b.Reserve(1), b.Reserve(1), b.Reserve(1)
		m.Cancel()
		assert.Equal(t, tick, a.Delay())
		assert.Equal(t, 3*tick, z.Delay(), "promises never move")
		next := b.Reserve(1)
		assert.Equal(t, 2*tick, next.Delay())
		assert.Equal(t, 4*tick, b.Reserve(1).Delay())
		time.Sleep(2 * tick)
		assert.False(t, b.Allow())
	})
}

func TestReservation_rule30_cancelMovesWaitersUp(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 1)
		require.True(t, b.Allow())
		first, second := b.Reserve(1), b.Reserve(1)
		waiter := in(func() error { return b.Wait(t.Context()) })
		last := b.Reserve(1)
		assert.Equal(t, 4*tick, last.Delay(), "behind the waiter")
		first.Cancel()
		time.Sleep(tick - 1)
		blocked(t, waiter)
		time.Sleep(1)
		assert.NoError(t, result(t, waiter), "in the place of the first")
		assert.Equal(t, tick, second.Delay())
		assert.Equal(t, 3*tick, last.Delay())
		again := in(func() error { return b.Wait(t.Context()) })
		time.Sleep(2 * tick) // in the hole between
		assert.NoError(t, result(t, again))
		assert.Equal(t, tick, last.Delay())
	})
}

// What refill has replaced does not come back a second time.
func TestReservation_rule30_lateCancelNeverGivesTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 1)
		r := b.Reserve(1)
		time.Sleep(tick)
		require.True(t, b.Allow())
		r.Cancel()
		assert.False(t, b.Allow(), "two in no time")

		time.Sleep(tick)
		r = b.Reserve(1)
		time.Sleep(tick / 2)
		r.Cancel()
		assert.True(t, b.Allow(), "nothing was taken since: as if it had never been")
		assert.False(t, b.Allow())
	})
}

// A cancellation moves the intervals behind it; a later one of those counts from there.
func TestReservation_rule30_cancelsOneAfterTheOtherNeverGiveTooMuch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 10)
		first, second := b.Reserve(1), b.Reserve(1)
		first.Cancel()
		time.Sleep(tick + tick/2) // the bucket has filled again
		require.True(t, b.AllowN(10))
		second.Cancel()
		time.Sleep(tick - 1)
		assert.False(t, b.Allow())
		time.Sleep(1)
		assert.True(t, b.Allow())
	})
}

func TestReservation_acrossReconfigure(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 4)
		r := b.Reserve(3)
		require.NoError(t, b.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(7, time.Minute), Burst: 10}))
		assert.Equal(t, 1, b.Stats().Available)
		r.Cancel()
		assert.Equal(t, 4, b.Stats().Available)

		drain(b)
		p := b.Reserve(2)
		delay := p.Delay()
		require.NoError(t, b.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: 1}))
		assert.Equal(t, delay, p.Delay(), "a promise is kept")
		time.Sleep(delay)
		assert.False(t, b.Allow())
		assert.False(t, b.Reserve(2).OK())
		require.NoError(t, b.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Unlimited}))
		p.Cancel()
		assert.True(t, b.AllowN(1000))
		require.NoError(t, b.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: 5}))
		p.Cancel()
		assert.Equal(t, 5, b.Stats().Available)
	})
}

// A promise kept at a rate so low that its tokens take ages leaves a debt of ages.
func TestReservation_promiseAcrossReconfigureLeavesItsWholeDebt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bucket(ratelimit.Per(10, time.Second), 1000)
		require.True(t, b.AllowN(1000))
		p := b.Reserve(1000)
		require.NoError(t, b.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, 10*day)}))
		time.Sleep(p.Delay())
		for range 90 {
			require.False(t, b.Allow())
			time.Sleep(100 * day)
		}
		time.Sleep(2000 * day)
		require.True(t, b.Allow())
	})
}
