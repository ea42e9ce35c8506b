package window

import (
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/internal/stripe"
)

// Against a list of all events ever: same answers, whatever the pauses.
func TestCounter_property(t *testing.T) {
	for seed := range uint64(50) {
		rng := rand.New(rand.NewPCG(seed, 1))
		span := time.Duration(rng.IntN(1000)+1) * time.Millisecond
		var c Counter
		c.Init(span)
		type event struct {
			part int64
			n    int
		}
		var events []event
		now := time.Duration(0)
		for range 2000 {
			switch rng.IntN(10) {
			case 0:
				now += time.Duration(rng.Int64N(int64(3 * span)))
			case 1:
				now += span * Buckets * time.Duration(rng.IntN(5))
			case 2, 3, 4:
				now += time.Duration(rng.Int64N(int64(span)/Buckets + 1))
			default:
				e := event{c.Part(now), rng.IntN(3) + 1}
				r := &c.buckets
				if i := rng.IntN(2 * stripe.N); i < stripe.N && seed%2 == 1 {
					for c.stripes.Clash() == nil {
					}
					r = &c.stripes.All()[i]
				}
				c.add(r, e.part, e.n)
				events = append(events, e)
			}
			want := 0
			for _, e := range events {
				if e.part > c.Part(now)-Buckets {
					want += e.n
				}
			}
			require.Equal(t, want, c.Sum(c.Part(now)), "seed %d at %v", seed, now)
		}
	}
}

func TestCounter_forgetsWithinTheSpan(t *testing.T) {
	var c Counter
	c.Init(10 * time.Second)
	c.Add(c.Part(312 * time.Millisecond))
	assert.Equal(t, 1, c.Sum(c.Part(9999*time.Millisecond)))
	assert.Equal(t, 0, c.Sum(c.Part(10*time.Second)))
	assert.Equal(t, 0, c.Sum(c.Part(1000*time.Hour)))
}

// A bucket that was idle for long was taken for one of a later lap, and what was added to it
// got lost for as long again: after 37 hours with a span of a millisecond. Idle for exactly a
// whole number of laps of laps, it was taken for one of this lap.
func TestCounter_countsAfterAnyIdleTime(t *testing.T) {
	for _, span := range []time.Duration{MinSpan, 10 * time.Millisecond, 32 * time.Millisecond, time.Second, 10 * time.Second, MaxSpan} {
		for shift := range 60 {
			idle := max(span, time.Duration(1)<<shift)
			for _, at := range []time.Duration{idle, idle / span * span, idle + idle/2, idle * 7, span * 1 << 28, span*1<<28 + idle} {
				if at < span || at > 290*365*24*time.Hour {
					continue
				}
				var c Counter
				c.Init(span)
				c.Add(c.Part(0))
				require.Equal(t, 0, c.Sum(c.Part(at)), "span %v, idle for %v", span, at)
				c.Add(c.Part(at))
				require.Equal(t, 1, c.Sum(c.Part(at)), "span %v, idle for %v", span, at)
			}
		}
	}
}

// All goroutines cross the roll-overs together, and every event is in some bucket of some ring.
func TestCounter_rollOverLosesNothing(t *testing.T) {
	for i := range 100 {
		var c Counter
		if i%2 == 0 {
			c.Init(MaxSpan)
		} else {
			c.InitStriped(MaxSpan)
		}
		var wg sync.WaitGroup
		const workers, each = 8, 1000
		for range workers {
			wg.Go(func() {
				for i := range each {
					c.Add(int64(Buckets*3 + i%Buckets))
				}
			})
		}
		wg.Wait()
		require.Equal(t, workers*each, c.Sum(Buckets*4-1))
		if i%2 == 0 {
			require.Nil(t, c.stripes.All())
		}
	}
}

func TestCounter_isStripedWhenContended(t *testing.T) {
	var c, never Counter
	c.InitStriped(time.Second)
	never.Init(time.Second)
	for range stripe.Tolerated + 1 {
		for _, c := range []*Counter{&c, &never} {
			c.Add(7)
			if c.clashed(7) { // as if another goroutine had been faster
				c.stripes.Clash()
			}
		}
	}
	require.NotNil(t, c.stripes.All())
	require.Nil(t, never.stripes.All())
	require.False(t, c.TryAdd(7), "what is striped leaves the one ring alone")
	c.Add(7)
	require.Equal(t, stripe.Tolerated+2, c.Sum(7))

	var copied Counter
	copied.Init(2 * time.Second)
	copied.CopyFrom(&c, time.Duration(7*c.width))
	require.Equal(t, stripe.Tolerated+2, copied.Sum(copied.Part(time.Duration(7*c.width))))
}

func TestCounter_lateComerIsCounted(t *testing.T) {
	var c Counter
	c.Init(time.Second)
	c.Add(5 + Buckets)
	c.Add(5) // read its clock a lap ago
	assert.Equal(t, 2, c.Sum(5+Buckets))
}

func TestCounter_copyFrom(t *testing.T) {
	var old, c Counter
	old.Init(10 * time.Second)
	now := time.Minute
	for age := time.Duration(0); age < 10*time.Second; age += time.Second {
		old.Add(old.Part(now - age))
	}
	require.Equal(t, 10, old.Sum(old.Part(now)))

	c.Init(20 * time.Second)
	c.CopyFrom(&old, now)
	assert.Equal(t, 10, c.Sum(c.Part(now)))
	assert.Equal(t, 0, c.Sum(c.Part(now+20*time.Second)))

	var short Counter
	short.Init(5 * time.Second)
	short.CopyFrom(&old, now)
	assert.Equal(t, 5, short.Sum(short.Part(now)))
}

func TestLast_property(t *testing.T) {
	type call struct{ failed, slow bool }
	for seed := range uint64(100) {
		rng := rand.New(rand.NewPCG(seed, 2))
		size := rng.IntN(150) + 1
		l := NewLast(size)
		var calls []call
		for range 500 {
			c := call{rng.IntN(2) == 0, rng.IntN(3) == 0}
			if rng.IntN(5) > 0 {
				l.Add(c.failed, c.slow)
				calls = append(calls, c)
			}
			passed := rng.IntN(4)
			if rng.IntN(20) == 0 {
				passed = rng.IntN(3 * size)
			}
			for range passed {
				l.Pass()
				calls = append(calls, call{})
			}
			calls = calls[max(0, len(calls)-size):]
			if rng.IntN(3) > 0 {
				continue // nobody counts
			}
			failed := 0
			for _, c := range calls {
				if c.failed {
					failed++
				}
			}
			n := rng.IntN(size + 2)
			slow := 0
			for _, c := range calls[max(0, len(calls)-n):] {
				if c.slow {
					slow++
				}
			}
			require.Equal(t, slow, l.Slow(n), "seed %d, newest %d of %d", seed, n, len(calls))
			remembered, marked := l.Calls()
			require.Equal(t, len(calls), remembered)
			require.Equal(t, failed, marked)
		}
		// With another size it keeps the newest.
		l.Resize(rng.IntN(150) + 1)
		kept := calls[max(0, len(calls)-l.Size()):]
		remembered, _ := l.Calls()
		require.Equal(t, len(kept), remembered)
		for i, c := range kept {
			require.Equal(t, c.failed, l.failed.get((l.oldest()+i)%l.Size()))
			require.Equal(t, c.slow, l.slow.get((l.oldest()+i)%l.Size()))
		}
	}
}

func TestLast_passLosesNothing(t *testing.T) {
	const workers, each = 8, 5000
	l := NewLast(workers*each + 1)
	l.Add(true, true)
	var wg sync.WaitGroup
	for range workers {
		wg.Go(func() {
			for range each {
				l.Pass()
			}
		})
	}
	for last := 0; last < workers*each; {
		n, failed := l.Calls()
		require.GreaterOrEqual(t, n, last)
		require.Equal(t, 1, failed)
		last = n
	}
	wg.Wait()
	n, failed := l.Calls()
	require.Equal(t, workers*each+1, n)
	require.Equal(t, 1, failed)
	l.Pass()
	_, failed = l.Calls()
	require.Zero(t, failed, "the oldest is forgotten")
}
