package chaos

import (
	"hash/fnv"
	"sync/atomic"
	"time"
)

// fault is what happens to a call in fn's place.
type fault int

const (
	none fault = iota
	reject
	fail
	panics
)

// fate is all that happens to one call.
type fate struct {
	fault fault
	delay time.Duration
}

// lane is a sequence of calls with a numbering of their own, and what may happen to them.
type lane struct {
	faults Faults
	key    string
	seed   uint64
	calls  *atomic.Uint64 // outlives a Reconfigure

	// One value of each serves every call.
	rejected, failed, panicked *Error
}

func newLane(c Config, key string, faults Faults, old *lane) *lane {
	l := &lane{faults: faults, key: key, seed: c.Seed}
	if key != "" {
		h := fnv.New64a()
		h.Write([]byte(key))
		l.seed ^= h.Sum64()
	}
	if old != nil {
		l.calls = old.calls
	} else {
		l.calls = new(atomic.Uint64)
	}
	l.rejected = &Error{Name: c.Name, Key: key, what: "rejection", rejected: true}
	l.failed = &Error{Name: c.Name, Key: key, what: "error", Err: faults.Err}
	l.panicked = &Error{Name: c.Name, Key: key, what: "panic"}
	return l
}

// next decides on the next call.
func (l *lane) next() fate {
	return l.faults.decide(l.seed, l.calls.Add(1)-1)
}

// decide returns what happens to the n-th call: the same for the same seed and n.
func (x Faults) decide(seed, n uint64) fate {
	r := stream(mix(seed) + n)
	var f fate
	switch u := r.uniform(); {
	case u < x.RejectRatio:
		f.fault = reject
	case u < x.RejectRatio+x.ErrorRatio:
		f.fault = fail
	case u < x.RejectRatio+x.ErrorRatio+x.PanicRatio:
		f.fault = panics
	}
	if r.uniform() < x.DelayRatio {
		f.delay = x.Delay
		if x.MaxDelay > x.Delay {
			f.delay += time.Duration(r.uniform() * float64(x.MaxDelay-x.Delay))
		}
	}
	return f
}

// stream is SplitMix64 (Steele, Lea, Flood: Fast Splittable Pseudorandom Number Generators,
// 2014), whose state is a counter: any of its numbers can be had without those before. Its
// start is mixed, so that neighbouring calls draw from places far apart.
type stream uint64

const golden = 0x9e3779b97f4a7c15

func mix(x uint64) uint64 {
	x += golden
	x = (x ^ x>>30) * 0xbf58476d1ce4e5b9
	x = (x ^ x>>27) * 0x94d049bb133111eb
	return x ^ x>>31
}

// uniform returns a number in [0, 1).
func (s *stream) uniform() float64 {
	u := mix(mix(uint64(*s)))
	*s += golden
	return float64(u>>11) / (1 << 53)
}
