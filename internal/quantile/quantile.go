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
// a microsecond, spread over so many.
const refresh = 64

// Max is the highest quantile that can be estimated.
const Max = 0.999

// Estimator estimates one quantile of recent durations. Its memory is constant, about 11 kB.
// All methods are safe for concurrent use, and to add a sample takes no lock.
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
	aim      atomic.Pointer[aim]
	newer    atomic.Pointer[generation]
	aged     atomic.Int64 // samples of the older generation

	mu    sync.Mutex // held by whoever computes the estimate; nobody waits for that to add a sample
	older *generation
}

// aim is the quantile that is wanted, and what follows from it.
type aim struct {
	q    float64
	warm int64 // samples that an estimate needs
	size int64 // samples of a generation
}

// generation is a histogram of some samples.
type generation struct {
	total       atomic.Int64
	first, last atomic.Int64 // the buckets in use
	done        [buckets]atomic.Uint32
	cut         [buckets]atomic.Uint32
}

// New returns an Estimator of the quantile q, which is more than 0 and at most Max. It needs
// as many samples as have five above the quantile on average, 100 for 0.95, and ten of them
// complete.
func New(q float64) *Estimator {
	e := &Estimator{older: newGeneration()}
	e.newer.Store(newGeneration())
	e.SetQuantile(q)
	return e
}

func newGeneration() *generation {
	g := new(generation)
	g.first.Store(buckets)
	return g
}

// add adds a sample to its bucket, and returns how many there are.
func (g *generation) add(bucket int, cut bool) int64 {
	for b := int64(bucket); ; {
		if first := g.first.Load(); first <= b || g.first.CompareAndSwap(first, b) {
			break
		}
	}
	for b := int64(bucket); ; {
		if last := g.last.Load(); last >= b || g.last.CompareAndSwap(last, b) {
			break
		}
	}
	if cut {
		g.cut[bucket].Add(1)
	} else {
		g.done[bucket].Add(1)
	}
	return g.total.Add(1)
}

// clear makes g as good as new. A sample that is being added meanwhile may or may not be lost.
func (g *generation) clear() {
	for b := g.first.Load(); b <= g.last.Load(); b++ {
		g.done[b].Store(0)
		g.cut[b].Store(0)
	}
	g.total.Store(0)
	g.first.Store(buckets)
	g.last.Store(0)
}

// SetQuantile changes what is estimated. The samples stay.
func (e *Estimator) SetQuantile(q float64) {
	e.mu.Lock()
	defer e.mu.Unlock()
	warm := max(10, int64(math.Ceil(5/(1-q)-1e-9)))
	e.aim.Store(&aim{q: q, warm: warm, size: max(500, 2*warm)})
	e.estimate.Store(0)
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
	g, aim := e.newer.Load(), e.aim.Load()
	n := g.add(bucket(d), cut)
	full := n >= aim.size
	warm := e.estimate.Load() == 0 && e.aged.Load()+n == aim.warm
	if !full && !warm && n%refresh != 0 || !e.mu.TryLock() {
		return
	}
	defer e.mu.Unlock()
	e.compute()
	if full && e.newer.Load() == g {
		e.older.clear()
		e.newer.Store(e.older)
		e.older = g
		e.aged.Store(n)
	}
}

// compute sets the estimate. It needs mu.
func (e *Estimator) compute() {
	newer, older, aim := e.newer.Load(), e.older, e.aim.Load()
	first := min(newer.first.Load(), older.first.Load())
	last := max(newer.last.Load(), older.last.Load())
	var done, cut [buckets]uint32 // of one moment, since samples may come meanwhile
	var total, complete int64
	for b := first; b <= last; b++ {
		done[b] = newer.done[b].Load() + older.done[b].Load()
		cut[b] = newer.cut[b].Load() + older.cut[b].Load()
		complete += int64(done[b])
		total += int64(done[b]) + int64(cut[b])
	}
	if total < aim.warm || complete < min(aim.warm, 10) {
		return
	}
	beyond := 1.0            // the share that takes longer than the buckets seen so far
	atRisk := float64(total) // samples that are known to have taken as long as that
	for b := first; b <= last && atRisk > 0; b++ {
		beyond *= 1 - float64(done[b])/atRisk
		if beyond <= 1-aim.q+1e-9 {
			e.estimate.Store(int64(upper(int(b))))
			return
		}
		atRisk -= float64(done[b]) + float64(cut[b])
	}
	e.estimate.Store(int64(upper(int(last))))
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
