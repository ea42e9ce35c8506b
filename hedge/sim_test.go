package hedge_test

import (
	"context"
	"math/rand/v2"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

// lockedRand is a random source for concurrent use.
type lockedRand struct {
	mu sync.Mutex
	r  *rand.Rand
}

func newRand(seed uint64) *lockedRand { return &lockedRand{r: rand.New(rand.NewPCG(seed, 1))} }

func (l *lockedRand) float() float64 {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.r.Float64()
}

func (l *lockedRand) exp(mean time.Duration) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	return time.Duration(l.r.ExpFloat64() * float64(mean))
}

// The case of The Tail at Scale: 10 ms typically, 1 s for one call of a hundred.
func TestHedge_simulatedStragglers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const calls = 10_000
		r := newRand(1)
		var reached atomic.Int64
		service := func(ctx context.Context) error {
			reached.Add(1)
			if r.float() < 0.01 {
				return sleep(ctx, time.Second)
			}
			return sleep(ctx, 5*ms+time.Duration(10*r.float()*float64(ms)))
		}
		p999 := func(p thole.Policy) time.Duration {
			var took []time.Duration
			for range calls {
				start := time.Now()
				assert.NoError(t, p.Do(t.Context(), service))
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			return took[calls*999/1000]
		}
		bare := p999(thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }))
		reached.Store(0)
		h := hedge.New(hedge.Config{Quantile: 0.98})
		hedged := p999(h)
		extra := float64(reached.Load()-calls) / calls
		t.Logf("p99.9 %v, hedged %v, extra load %.2f %%, %+v", bare, hedged, 100*extra, h.Stats())
		assert.GreaterOrEqual(t, bare, 20*hedged)
		assert.LessOrEqual(t, extra, 0.03)
	})
}

// Twice as many calls as the service can do: everybody is slow, and another attempt would
// help nobody. What the caller's deadline cuts short counts as slow, so the delay rises above
// the deadline, and no hedge starts.
func TestHedge_simulatedOverload(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRand(2)
		workers := make(chan struct{}, 8)
		service := func(ctx context.Context) error { // 800 calls a second, first come, first served
			select {
			case workers <- struct{}{}:
			case <-ctx.Done():
				return ctx.Err()
			}
			time.Sleep(r.exp(10 * ms))
			<-workers
			return ctx.Err()
		}
		h := hedge.New(hedge.Config{})
		var wg sync.WaitGroup
		offer := func(perSecond float64, d time.Duration) hedge.Stats {
			before := h.Stats()
			for end := time.Now().Add(d); time.Now().Before(end); {
				time.Sleep(r.exp(time.Duration(float64(time.Second) / perSecond)))
				wg.Go(func() {
					ctx, cancel := context.WithTimeout(t.Context(), 100*ms)
					defer cancel()
					_ = h.Do(ctx, service)
				})
			}
			wg.Wait()
			time.Sleep(time.Second) // for attempts that lost
			after := h.Stats()
			return hedge.Stats{
				Calls: after.Calls - before.Calls, Hedges: after.Hedges - before.Hedges,
				HedgeWins: after.HedgeWins - before.HedgeWins, Delay: after.Delay,
			}
		}
		healthy := offer(560, 3*time.Second)
		overload := offer(1600, 5*time.Second)
		again := offer(560, 3*time.Second)
		t.Logf("healthy %+v, overload %+v, afterwards %+v", healthy, overload, again)
		assert.NotZero(t, healthy.Hedges)
		assert.LessOrEqual(t, float64(overload.Hedges), 0.01*float64(overload.Calls))
		assert.NotZero(t, again.Hedges, "it hedges again when that helps")
	})
}
