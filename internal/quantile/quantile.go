// Package quantile estimates a quantile of a stream of durations that moves with time.
package quantile

import (
	"math"
	"math/bits"
	"sync"
	"sync/atomic"
	"time"
)

// The histogram is log-linear, as in Gil Tene's HdrHistogram: each power of two is split
// into 32 buckets of the same width, so a bucket is at most 1/32 wide relative to its
// values. It spans 33 µs to 69 s; what is below or above goes into the first or last bucket.
const (
	subBits = 5
	lowest  = 15 // bits of the first power of two that is split
	highest = 36
	buckets = 1 + (highest-lowest)<<subBits
)

// refresh is how many samples may come before the estimate is computed anew: that costs
// some hundred nanoseconds, spread over so many.
const refresh = 32

// Max is the highest quantile that can be estimated.
const Max = 0.999

// Estimator estimates one quantile of recent durations. Its memory is constant, about 6 kB.
// All methods are safe for concurrent use.
//
// "Recent" goes by number: samples are kept in two generations, the older of which is
// dropped when the newer is full. For the 0.95 quantile a generation has 500 samples, so
// what is older than 1,000 samples is forgotten.
//
// A duration that was cut short, since the call was cancelled, is a censored sample: it is
// known to be at least so long. To leave it out would make the estimate too low, since it is
// the long ones that are cut short; to count it as complete would too. The estimate is that
// of Kaplan and Meier (Nonparametric Estimation from Incomplete Observations, Journal of the
// American Statistical Association 53, 1958), which is made for such samples.
type Estimator struct {
	estimate atomic.Int64 // 0: not known yet

	mu       sync.Mutex
	q        float64
	warm     int // samples that an estimate needs
	size     int // samples of a generation
	fresh    int // samples since the estimate was computed
	newer    *generation
	older    *generation
	complete int // samples of both generations that were not cut short
}

// generation is a histogram of some samples.
type generation struct {
	total       int
	complete    int
	first, last int // the buckets in use
	done        [buckets]uint16
	cut         [buckets]uint16
}

// New returns an Estimator of the quantile q, which is more than 0 and at most Max. It needs
// as many samples as have five above the quantile on average, 100 for 0.95, and ten of them
// complete.
func New(q float64) *Estimator {
	e := &Estimator{newer: newGeneration(), older: newGeneration()}
	e.SetQuantile(q)
	return e
}

func newGeneration() *generation { return &generation{first: buckets} }

// SetQuantile changes what is estimated. The samples stay.
func (e *Estimator) SetQuantile(q float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	e.q = q
	e.estimate.Store(0)
	e.warm = max(10, int(math.Ceil(5/(1-q)-1e-9)))
	e.size = max(500, 2*e.warm)
	e.compute()
}

// Get returns the estimate: never less than the quantile of the samples, and at most about
// 3 % more. It reports false as long as there are too few samples. If more than the share
// beyond the quantile was cut short, it is not known how long those would have taken, and
// the estimate is the longest time that was waited.
func (e *Estimator) Get() (time.Duration, bool) {
	d := e.estimate.Load()
	return time.Duration(d), d != 0
}

// Record adds the duration of something that came to its end.
func (e *Estimator) Record(d time.Duration) { e.add(d, false) }

// RecordAtLeast adds a duration that was cut short at d.
func (e *Estimator) RecordAtLeast(d time.Duration) { e.add(d, true) }

func (e *Estimator) add(d time.Duration, cut bool) {
	b := bucket(d)
	e.mu.Lock()
	defer e.mu.Unlock()
	if e.newer.total >= e.size {
		e.complete -= e.older.complete
		e.newer, e.older = e.older, e.newer
		*e.newer = generation{first: buckets}
	}
	g := e.newer
	g.total++
	g.first, g.last = min(g.first, b), max(g.last, b)
	if cut {
		g.cut[b]++
	} else {
		g.done[b]++
		g.complete++
		e.complete++
	}
	if e.fresh++; e.fresh >= refresh || e.estimate.Load() == 0 && e.total() == e.warm {
		e.compute()
	}
}

func (e *Estimator) total() int { return e.newer.total + e.older.total }

// compute sets the estimate. It needs mu.
func (e *Estimator) compute() {
	e.fresh = 0
	if e.total() < e.warm || e.complete < min(e.warm, 10) {
		return
	}
	first := min(e.newer.first, e.older.first)
	last := max(e.newer.last, e.older.last)
	beyond := 1.0                // the share that takes longer than the buckets seen so far
	atRisk := float64(e.total()) // samples that are known to have taken as long as that
	for b := first; b <= last; b++ {
		done := float64(e.newer.done[b]) + float64(e.older.done[b])
		beyond *= 1 - done/atRisk
		if beyond <= 1-e.q+1e-9 {
			e.estimate.Store(int64(upper(b)))
			return
		}
		atRisk -= done + float64(e.newer.cut[b]) + float64(e.older.cut[b])
	}
	e.estimate.Store(int64(upper(last)))
}

// bucket returns the bucket of d.
func bucket(d time.Duration) int {
	if d < 1<<lowest {
		return 0
	}
	log := bits.Len64(uint64(d)) - 1
	if log >= highest {
		return buckets - 1
	}
	sub := int(uint64(d)>>(log-subBits)) & (1<<subBits - 1)
	return 1 + (log-lowest)<<subBits + sub
}

// upper returns the least duration that is more than all of bucket b.
func upper(b int) time.Duration {
	if b == 0 {
		return 1 << lowest
	}
	log := lowest + (b-1)>>subBits
	sub := (b-1)&(1<<subBits-1) + 1
	return 1<<log + time.Duration(sub)<<(log-subBits)
}
