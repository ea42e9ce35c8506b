// Package window counts recent events: over a span of time ([Counter]) and over a number
// of calls ([Last]).
package window

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// Buckets is the number of parts a Counter divides its span into. What it forgets, it
// forgets a part at a time: an event counts for at least (Buckets-1)/Buckets of the span,
// and never longer than the span.
const Buckets = 1 << bucketBits

// The longest and the shortest span of a Counter. Within them a bucket's lap number and its
// count fit one word: 28 bits of laps are 3 days of one-millisecond spans and 85 years of
// ten-second ones; 36 bits of count are 16 million events a second in a span of a day.
const (
	MinSpan = time.Millisecond
	MaxSpan = 24 * time.Hour
)

const (
	bucketBits = 5

	countBits = 36
	countMask = 1<<countBits - 1
	lapMask   = 1<<(64-countBits) - 1
)

// Counter counts events over the last span of time. It holds no clock: each method is told
// the time since some fixed moment, which must not be negative. It is safe for concurrent
// use, and an event is never lost to a bucket's roll-over.
//
// Each bucket is one atomic word: the number of the lap round the ring it was last used in,
// and the count. So adding is one atomic addition, and a bucket of an earlier lap counts as
// empty without anybody having to empty it.
type Counter struct {
	width   int64
	inverse uint64 // of width, in units of 2^-64: a product costs a quarter of a division
	buckets [Buckets]atomic.Uint64
}

// Init sets the span, which must be within MinSpan and MaxSpan, of a Counter that is not in
// use yet.
func (c *Counter) Init(span time.Duration) {
	c.width = int64(span) / Buckets
	// Rounded up, so that a part is rather too short, by less than a millionth, than too long.
	c.inverse = (1<<64-1)/uint64(c.width) + 1
}

// Part returns the number of the part of time that now lies in. Between two looks within
// one part nothing is forgotten.
func (c *Counter) Part(now time.Duration) int64 {
	part, _ := bits.Mul64(uint64(now), c.inverse)
	return int64(part)
}

// Add counts an event in the part of time that [Counter.Part] gave.
func (c *Counter) Add(part int64) {
	if !c.TryAdd(part) {
		c.add(part, 1)
	}
}

// TryAdd is Add where that is one addition: if the bucket is in use for this part already. Else
// it reports false, and the event is still to be added. It is small enough to be inlined.
func (c *Counter) TryAdd(part int64) bool {
	bucket := &c.buckets[part&(Buckets-1)]
	if bucket.Load()>>countBits != uint64(part)>>bucketBits&lapMask {
		return false
	}
	bucket.Add(1)
	return true
}

// add counts n events, rolling the bucket over if it was last used in another lap.
func (c *Counter) add(part int64, n int) {
	bucket := &c.buckets[part&(Buckets-1)]
	lap := uint64(part) >> bucketBits & lapMask
	for {
		word := bucket.Load()
		switch at := word >> countBits; {
		case at == lap, newer(at, lap):
			// A late-comer to a bucket that others have rolled over already is counted with
			// them: its clock reading is old, but it is now that it tells of its event.
			bucket.Add(uint64(n))
			return
		case bucket.CompareAndSwap(word, lap<<countBits|uint64(n)):
			return
		}
	}
}

// newer reports whether lap a comes after lap b, both modulo 2^28.
func newer(a, b uint64) bool { return (a-b)&lapMask < lapMask/2 }

// Sum returns the number of events in the span that ends with the given part.
func (c *Counter) Sum(part int64) int {
	last := int(part & (Buckets - 1))
	lap := uint64(part) >> bucketBits
	this, before := lap&lapMask, (lap-1)&lapMask
	sum := uint64(0)
	for i := range c.buckets {
		want := this
		if i > last {
			want = before
		}
		if word := c.buckets[i].Load(); word>>countBits == want {
			sum += word & countMask
		}
	}
	return int(sum)
}

// CopyFrom adds the events that old still counts at now, each in the part of this counter
// that its part in old began in or, if that is forgotten here, not at all.
func (c *Counter) CopyFrom(old *Counter, now time.Duration) {
	part, oldPart := c.Part(now), old.Part(now)
	for p := max(0, oldPart-Buckets+1); p <= oldPart; p++ {
		word := old.buckets[p&(Buckets-1)].Load()
		if word>>countBits != uint64(p)>>bucketBits&lapMask {
			continue
		}
		to := min(c.Part(time.Duration(p*old.width)), part)
		if n := int(word & countMask); n > 0 && to > part-Buckets {
			c.add(to, n)
		}
	}
}
