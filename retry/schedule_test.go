package retry_test

import (
	"context"
	"math"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/retry"
)

// at returns n samples of the delay number k (from 0) of fresh schedules.
func at(f func() backoff.BackOff, k, n int) []time.Duration {
	out := make([]time.Duration, n)
	for i := range out {
		b := f()
		for range k {
			b.NextBackOff()
		}
		out[i] = b.NextBackOff()
	}
	return out
}

// inside asserts that d is in [lo, hi], cheaply.
func inside(t *testing.T, d, lo, hi time.Duration) {
	t.Helper()
	if d < lo || d > hi {
		t.Fatalf("%v is not in [%v, %v]", d, lo, hi)
	}
}

// uniform asserts that the samples, all in [lo, hi], are spread evenly, by a chi-square of 20
// bins: with 19 degrees of freedom 100 is exceeded once in 10¹² times.
func uniform(t *testing.T, samples []time.Duration, lo, hi time.Duration) {
	t.Helper()
	const bins = 20
	var count [bins]float64
	for _, d := range samples {
		inside(t, d, lo, hi)
		count[min(int(float64(d-lo)/float64(hi-lo)*bins), bins-1)]++
	}
	want := float64(len(samples)) / bins
	chi := 0.0
	for _, c := range count {
		chi += (c - want) * (c - want) / want
	}
	require.Less(t, chi, 100.0, "%v", count)
}

func TestSchedule_rule19_fullJitterIsUniformFromZeroToTheStep(t *testing.T) {
	s := retry.FullJitter(100*time.Millisecond, time.Second)
	for k, v := range []time.Duration{100, 200, 400, 800, 1000, 1000} {
		uniform(t, at(s, k, 20_000), 0, v*time.Millisecond)
	}
	uniform(t, at(s, 80, 20_000), 0, time.Second) // at the cap for long
	one := at(retry.FullJitter(1, 1), 0, 1000)    // both ends belong to it
	require.Contains(t, one, time.Duration(0))
	require.Contains(t, one, time.Duration(1))
}

func TestSchedule_rule19_decorrelatedJitterFollowsTheFormula(t *testing.T) {
	const base, top = 100 * time.Millisecond, 10 * time.Second
	s := retry.DecorrelatedJitter(base, top)
	uniform(t, at(s, 0, 20_000), base, 3*base)

	// Each delay is uniform on [base, 3·the one before], cut to the cap: its place in that
	// interval is uniform on [0, 1].
	var places []time.Duration
	atCap, below := 0, 0
	for range 5000 {
		b, prev := s(), base
		for range 12 {
			d := b.NextBackOff()
			inside(t, d, base, top)
			if 3*prev <= top && 3*prev > base {
				places = append(places, time.Duration(float64(d-base)/float64(3*prev-base)*1e9))
			}
			if prev == top {
				if d == top {
					atCap++
				} else {
					below++
				}
			}
			prev = d
		}
	}
	uniform(t, places, 0, 1e9)
	require.InDelta(t, 1.0/3, float64(below)/float64(atCap+below), 0.05, "the jitter is not lost at the cap")
}

func TestSchedule_rule19_exponentialDoublesToTheCap(t *testing.T) {
	b := retry.Exponential(300*time.Millisecond, 2*time.Second)()
	var got []time.Duration
	for range 5 {
		got = append(got, b.NextBackOff()/time.Millisecond)
	}
	require.Equal(t, []time.Duration{300, 600, 1200, 2000, 2000}, got)
	b.Reset()
	require.Equal(t, 300*time.Millisecond, b.NextBackOff())
}

func TestSchedule_rule19_constantIsConstant(t *testing.T) {
	for _, d := range []time.Duration{0, 1, time.Hour, check.MaxDuration} {
		b := retry.Constant(d)()
		require.Equal(t, d, b.NextBackOff())
		b.Reset()
		require.Equal(t, d, b.NextBackOff())
	}
}

func TestSchedule_rule19_delaysStayWithinTheCapForEver(t *testing.T) {
	extremes := [][2]time.Duration{{1, 1}, {1, 2}, {1, check.MaxDuration}, {check.MaxDuration, check.MaxDuration},
		{3, check.MaxDuration - 1}, {time.Second, time.Second}, {math.MaxInt64 / 9, math.MaxInt64 / 3}}
	for _, make := range []func(a, b time.Duration) func() backoff.BackOff{
		retry.Exponential, retry.FullJitter, retry.DecorrelatedJitter,
	} {
		for _, e := range extremes {
			if e[1] > check.MaxDuration {
				continue
			}
			b := make(e[0], e[1])()
			for range 2000 {
				d := b.NextBackOff()
				inside(t, d, 0, e[1])
			}
		}
	}
}

// Retriers that fail at the same instants never come back together, neither at first nor
// when all have reached the cap.
func TestRetrier_rule19_twoRetriersNeverMarchInStep(t *testing.T) {
	for name, schedule := range map[string]func() backoff.BackOff{
		"default":      nil,
		"full jitter":  retry.FullJitter(time.Second, 2*time.Second),
		"decorrelated": retry.DecorrelatedJitter(time.Second, 20*time.Second),
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var mu sync.Mutex
				seen := map[time.Duration]int{}
				start := time.Now()
				var group sync.WaitGroup
				for range 2 {
					r := retry.New(retry.Config{MaxAttempts: 20, Backoff: schedule, Budget: thole.NoBudget})
					group.Go(func() {
						_ = r.Do(t.Context(), func(ctx context.Context) error {
							mu.Lock()
							defer mu.Unlock()
							seen[time.Since(start)]++
							return errBoom
						})
					})
				}
				group.Wait()
				require.Equal(t, 2, seen[0])
				delete(seen, 0)
				require.Len(t, seen, 2*19, "no two retries at one instant")
			})
		})
	}
}

// The herd of the AWS article: clients contend for a server that serves one at a time and
// turns the others away. With jitter the work done for the same result is a fraction.
func TestSchedule_rule19_jitterBreaksUpAHerd(t *testing.T) {
	work := func(schedule func() backoff.BackOff) int {
		const clients, service = 50, 10 * time.Millisecond
		type client struct {
			at time.Duration
			b  backoff.BackOff
		}
		var queue []*client
		for range clients {
			queue = append(queue, &client{b: schedule()})
		}
		calls, busy := 0, time.Duration(-1)
		for len(queue) > 0 && calls < 100_000 {
			next := slices.MinFunc(queue, func(a, b *client) int { return int(a.at - b.at) })
			calls++
			if next.at > busy {
				busy = next.at + service
				queue = slices.DeleteFunc(queue, func(c *client) bool { return c == next })
				continue
			}
			next.at += next.b.NextBackOff()
		}
		return calls
	}
	none := work(retry.Exponential(5*time.Millisecond, 2*time.Second))
	full := work(retry.FullJitter(5*time.Millisecond, 2*time.Second))
	decorrelated := work(retry.DecorrelatedJitter(5*time.Millisecond, 2*time.Second))
	assert.Less(t, 2*full, none)
	assert.Less(t, 2*decorrelated, none)
}
