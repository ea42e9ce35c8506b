// Package window counts recent events: over a span of time ([Counter]) and over a number
// of calls ([Last]).
package window

import (
	"math/bits"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole/internal/stripe"
)

// Buckets is the number of parts a Counter divides its span into. What it forgets, it
// forgets a part at a time: an event counts for at least (Buckets-1)/Buckets of the span,
// and never longer than the span.
const Buckets = 1 << bucketBits

// The longest and the shortest span of a Counter. Within them a bucket's lap number and its
// count fit one word, which is divided between them to suit the span (see [Counter.Init]).
const (
	MinSpan = time.Millisecond
	MaxSpan = 24 * time.Hour
)

const bucketBits = 5

// Counter counts events over the last span of time. It holds no clock: each method is told
// the time since some fixed moment, which must not be negative. It is safe for concurrent
// use, and an event is never lost to a bucket's roll-over.
//
// Each bucket is one atomic word: the number of the lap round the ring it was last used in,
// and the count. So adding is one atomic operation, and a bucket of an earlier lap counts as
// empty without anybody having to empty it. The ring of buckets may be striped where goroutines
// often get in each other's way (see package stripe).
type Counter struct {
	width     int64
	inverse   uint64 // of width, in units of 2^-64: a product costs a quarter of a division
	countBits uint8  // of a bucket's word; the lap number is above them
	striped   bool   // it may be
	buckets   ring
	stripes   stripe.Stripes[ring]
}

type ring [Buckets]atomic.Uint64

// InitStriped is Init for a Counter that is added to more often than it is summed up: to sum up
// a ring that is striped takes nine times as long.
func (c *Counter) InitStriped(span time.Duration) {
	c.Init(span)
	c.striped = true
}

// Init sets the span, which must be within MinSpan and MaxSpan, of a Counter that is not in
// use yet.
func (c *Counter) Init(span time.Duration) {
	c.width = int64(span) / Buckets
	// Rounded up, so that a part is rather too short, by less than a millionth, than too long.
	c.inverse = (1<<64-1)/uint64(c.width) + 1
	// As many bits for the laps as all of a time.Duration has, so they never begin anew: a
	// bucket that was idle for long must not be taken for one of a later lap. What is left for
	// the count is enough for 32 events a nanosecond.
	c.countBits = uint8(bits.Len64(uint64(span)))
}

// lap returns the number of the lap that a bucket's word is of.
func (c *Counter) lap(word uint64) uint64 { return word >> (c.countBits & 63) }

func (c *Counter) count(word uint64) uint64 { return word & (1<<(c.countBits&63) - 1) }

// Part returns the number of the part of time that now lies in. Between two looks within
// one part nothing is forgotten.
func (c *Counter) Part(now time.Duration) int64 {
	part, _ := bits.Mul64(uint64(now), c.inverse)
	return int64(part)
}

// Add counts an event in the part of time that [Counter.Part] gave.
func (c *Counter) Add(part int64) {
	if c.TryAdd(part) {
		return
	}
	s := c.stripes.All()
	if s == nil && c.clashed(part) {
		s = c.stripes.Clash()
	}
	if s == nil {
		c.add(&c.buckets, part, 1)
	} else {
		c.add(&s[stripe.Index()], part, 1)
	}
}

// TryAdd is Add where that is one addition: if the bucket is in use for this part already, and
// nobody else adds to it. Else it reports false, and the event is still to be added. It is small
// enough to be inlined.
func (c *Counter) TryAdd(part int64) bool {
	bucket := &c.buckets[part&(Buckets-1)]
	word := bucket.Load()
	return c.lap(word) == uint64(part)>>bucketBits && c.stripes.All() == nil && bucket.CompareAndSwap(word, word+1)
}

// clashed reports whether a TryAdd failed because another goroutine was faster, and the ring may be
// striped for that.
func (c *Counter) clashed(part int64) bool {
	word := c.buckets[part&(Buckets-1)].Load()
	return c.striped && c.lap(word) == uint64(part)>>bucketBits
}

// add counts n events in r, rolling the bucket over if it was last used in another lap.
func (c *Counter) add(r *ring, part int64, n int) {
	bucket := &r[part&(Buckets-1)]
	lap := uint64(part) >> bucketBits
	for {
		word := bucket.Load()
		switch {
		case c.lap(word) >= lap:
			// A late-comer to a bucket that others have rolled over already is counted with
			// them: its clock reading is old, but it is now that it tells of its event.
			bucket.Add(uint64(n))
			return
		case bucket.CompareAndSwap(word, lap<<(c.countBits&63)|uint64(n)):
			return
		}
	}
}

// Sum returns the number of events in the span that ends with the given part.
func (c *Counter) Sum(part int64) int {
	sum := c.sum(&c.buckets, part)
	if s := c.stripes.All(); s != nil {
		for i := range s {
			sum += c.sum(&s[i], part)
		}
	}
	return sum
}

func (c *Counter) sum(r *ring, part int64) int {
	last := int(part & (Buckets - 1))
	lap := uint64(part) >> bucketBits
	sum := uint64(0)
	for i := range r {
		want := lap
		if i > last {
			want--
		}
		if word := r[i].Load(); c.lap(word) == want {
			sum += c.count(word)
		}
	}
	return int(sum)
}

// CopyFrom adds the events that old still counts at now, each in the part of this counter
// that its part in old began in or, if that is forgotten here, not at all.
func (c *Counter) CopyFrom(old *Counter, now time.Duration) {
	c.copyFrom(old, &old.buckets, now)
	if s := old.stripes.All(); s != nil {
		for i := range s {
			c.copyFrom(old, &s[i], now)
		}
	}
}

func (c *Counter) copyFrom(old *Counter, r *ring, now time.Duration) {
	part, oldPart := c.Part(now), old.Part(now)
	for p := max(0, oldPart-Buckets+1); p <= oldPart; p++ {
		word := r[p&(Buckets-1)].Load()
		if old.lap(word) != uint64(p)>>bucketBits {
			continue
		}
		to := min(c.Part(time.Duration(p*old.width)), part)
		if n := int(old.count(word)); n > 0 && to > part-Buckets {
			c.add(&c.buckets, to, n)
		}
	}
}
