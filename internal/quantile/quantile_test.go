package quantile

import (
	"fmt"
	"math"
	"math/rand/v2"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestBuckets(t *testing.T) {
	assert.Equal(t, 0, bucket(-1))
	assert.Equal(t, 0, bucket(1<<lowest-1))
	assert.Equal(t, 1, bucket(1<<lowest))
	assert.Equal(t, buckets-1, bucket(math.MaxInt64))
	last := 0
	for d := time.Duration(1 << lowest); d < 1<<highest; d += d / 100 {
		b := bucket(d)
		require.GreaterOrEqual(t, b, last)
		last = b
		require.Greater(t, upper(b), d)
		require.LessOrEqual(t, float64(upper(b)), float64(d)*(1+1.0/32)+1)
		require.Equal(t, min(b+1, buckets-1), bucket(upper(b)))
	}
	assert.Equal(t, buckets-1, last)
}

func exponential(r *rand.Rand, mean time.Duration) time.Duration {
	return time.Duration(r.ExpFloat64() * float64(mean))
}

func TestEstimator_agreesWithSortedSamples(t *testing.T) {
	for _, q := range []float64{0.5, 0.9, 0.95, 0.99, 0.999} {
		t.Run(fmt.Sprint(q), func(t *testing.T) {
			r := rand.New(rand.NewPCG(1, 2))
			e := New(q)
			var all []time.Duration
			for range e.aim.Load().size { // one generation: nothing is forgotten
				d := time.Millisecond + exponential(r, 20*time.Millisecond)
				all = append(all, d)
				e.Record(d)
			}
			e.compute()
			slices.Sort(all)
			want := all[int(math.Ceil(q*float64(len(all))))-1]
			got, ok := e.Get()
			require.True(t, ok)
			assert.Greater(t, got, want)
			assert.LessOrEqual(t, float64(got), 1.04*float64(want))
		})
	}
}

func TestEstimator_constantIsNeverBelow(t *testing.T) {
	e := New(0.95)
	for range 200 {
		e.Record(10 * time.Millisecond)
	}
	got, _ := e.Get()
	assert.Greater(t, got, 10*time.Millisecond)
	assert.LessOrEqual(t, got, 10400*time.Microsecond)
}

func TestEstimator_needsAWarmUp(t *testing.T) {
	for q, warm := range map[float64]int{0.1: 10, 0.95: 100, 0.99: 500} {
		e := New(q)
		for i := range warm {
			_, ok := e.Get()
			require.False(t, ok, "%v after %d", q, i)
			e.Record(time.Millisecond)
		}
		_, ok := e.Get()
		assert.True(t, ok, "%v", q)
	}
}

func TestEstimator_onlyCutSamplesTellNothing(t *testing.T) {
	e := New(0.95)
	for range 2000 {
		e.RecordAtLeast(time.Millisecond)
	}
	_, ok := e.Get()
	assert.False(t, ok)
}

// A service becomes ten times slower, and then ten times faster than at first.
func TestEstimator_tracksAMovingDistribution(t *testing.T) {
	r := rand.New(rand.NewPCG(3, 4))
	e := New(0.95)
	for _, mean := range []time.Duration{20 * time.Millisecond, 200 * time.Millisecond, 2 * time.Millisecond} {
		for range 2 * e.aim.Load().size {
			e.Record(exponential(r, mean))
		}
		got, _ := e.Get()
		want := 3 * float64(mean) // -ln 0.05
		assert.InEpsilon(t, want, float64(got), 0.2, "mean %v", mean)
	}
}

// Samples that are cut short by something that knows nothing of them do not move the
// estimate, up or down; to leave them out, or to take them for complete, would.
func TestEstimator_cutSamplesDoNotBias(t *testing.T) {
	r := rand.New(rand.NewPCG(5, 6))
	e, without, complete := New(0.9), New(0.9), New(0.9)
	for range 1000 {
		d := exponential(r, 20*time.Millisecond)
		if limit := exponential(r, 40*time.Millisecond); limit < d {
			e.RecordAtLeast(limit)
			complete.Record(limit)
			continue
		}
		e.Record(d)
		without.Record(d)
		complete.Record(d)
	}
	want := float64(46 * time.Millisecond) // -ln 0.1
	got, _ := e.Get()
	assert.InEpsilon(t, want, float64(got), 0.15)
	biased, _ := without.Get()
	assert.Less(t, float64(biased), 0.8*want)
	biased, _ = complete.Get()
	assert.Less(t, float64(biased), 0.8*want)
}

// Of what is always cut short, it is known only that it takes at least so long.
func TestEstimator_beyondWhatIsKnown(t *testing.T) {
	e := New(0.95)
	for i := range 400 {
		if i%2 == 0 {
			e.Record(5 * time.Millisecond)
		} else {
			e.RecordAtLeast(100 * time.Millisecond)
		}
	}
	got, ok := e.Get()
	require.True(t, ok)
	assert.GreaterOrEqual(t, got, 100*time.Millisecond)
}

func TestEstimator_setQuantileKeepsTheSamples(t *testing.T) {
	e := New(0.99)
	for i := range 500 {
		e.Record(time.Duration(i) * time.Millisecond)
	}
	got, ok := e.Get()
	require.True(t, ok)
	require.Greater(t, got, 480*time.Millisecond)
	e.SetQuantile(0.999)
	_, ok = e.Get()
	require.False(t, ok, "not warm enough for this one")
	e.SetQuantile(0.5)
	got, ok = e.Get()
	require.True(t, ok)
	assert.InEpsilon(t, float64(250*time.Millisecond), float64(got), 0.05)
}

func TestEstimator_concurrentUse(t *testing.T) {
	e := New(0.95)
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				if i%10 == 0 {
					e.RecordAtLeast(time.Millisecond)
				}
				e.Record(time.Duration((g+i)%8+1) * time.Millisecond)
				e.Get()
			}
		})
	}
	wg.Wait()
	got, _ := e.Get()
	assert.InEpsilon(t, float64(8*time.Millisecond), float64(got), 0.15)
}

func BenchmarkRecord(b *testing.B) {
	e := New(0.95)
	r := rand.New(rand.NewPCG(7, 8))
	var samples [1024]time.Duration
	for i := range samples {
		samples[i] = exponential(r, 20*time.Millisecond)
	}
	b.ReportAllocs()
	i := 0
	for b.Loop() {
		e.Record(samples[i%len(samples)])
		i++
	}
}

func TestEstimator_forgetsCompleteSamplesToo(t *testing.T) {
	e := New(0.95)
	for range 100 {
		e.Record(time.Millisecond)
	}
	for range 2 * e.aim.Load().size {
		e.RecordAtLeast(time.Millisecond)
	}
	e.SetQuantile(0.95)
	_, ok := e.Get()
	assert.False(t, ok)
}

// Samples that come at the same time are all counted, and none makes another wait: while the
// estimate is being computed they are added all the same.
func TestEstimator_countsConcurrentSamples(t *testing.T) {
	e := New(0.999) // whose generations hold 10,000
	var wg sync.WaitGroup
	for range 8 {
		wg.Go(func() {
			for i := range 1000 {
				e.add(time.Duration(i)*time.Millisecond, i%2 == 0)
			}
		})
	}
	wg.Wait()
	g := e.newer.Load()
	assert.EqualValues(t, 8000, g.total.Load())
	done, cut := 0, 0
	for b := range buckets {
		done += int(g.done[b].Load())
		cut += int(g.cut[b].Load())
	}
	assert.Equal(t, []int{4000, 4000}, []int{done, cut})
	assert.EqualValues(t, bucket(0), g.first.Load())
	assert.EqualValues(t, bucket(999*time.Millisecond), g.last.Load())

	e.mu.Lock()
	defer e.mu.Unlock()
	for range 3000 {
		e.Record(time.Second)
	}
	assert.EqualValues(t, 11000, g.total.Load(), "it is full, but nobody could put another in its place")
}

func BenchmarkRecord_parallel(b *testing.B) {
	e := New(0.95)
	b.RunParallel(func(pb *testing.PB) {
		for i := 0; pb.Next(); i++ {
			e.Record(time.Duration(i%64) * time.Millisecond)
		}
	})
}
