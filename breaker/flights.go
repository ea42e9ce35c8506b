package breaker

import (
	"math"
	"math/bits"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"
)

// flights is where the calls in flight stand while the slow-call rule is on. Entering and
// leaving is a few atomic operations on a place of the call's own, picked at random. The
// places are only looked through when a call that was not slow at the last look may have
// become so.
type flights struct {
	places atomic.Uint32 // a power of two
	chunks [maxChunks]atomic.Pointer[[]flight]
	grow   sync.Mutex

	// No call that began before oldest is in flight, but for those found slow already.
	oldest atomic.Int64
	looked atomic.Int64 // when the last look was
	slow   int          // how many were slow then and have not left since; under the breaker's lock
}

// flight is one place. start is 0 when it is free and claimed while it is being taken.
type flight struct {
	start atomic.Int64
	gen   atomic.Uint64
}

const (
	firstChunk = 32
	maxChunks  = 19 // 2^23 places; what exceeds them goes unwatched
	claimed    = -1

	// A look costs a few nanoseconds a place. Once in this long for each place keeps looking
	// at a small part of the time, however many calls there are.
	lookInterval = 100 * time.Nanosecond
)

func newFlights() *flights {
	f := new(flights)
	first := make([]flight, firstChunk)
	f.chunks[0].Store(&first)
	f.places.Store(firstChunk)
	f.oldest.Store(math.MaxInt64)
	f.looked.Store(math.MinInt64 / 2)
	return f
}

// at returns place i. The first chunk has as many places as the second, and each that follows
// as many as all before it.
func (f *flights) at(i uint32) *flight {
	if i < firstChunk {
		return &(*f.chunks[0].Load())[i]
	}
	k := bits.Len32(i / firstChunk)
	return &(*f.chunks[k].Load())[i-firstChunk<<(k-1)]
}

// enter takes a place and returns its number, from 1; 0 if there are too many.
func (f *flights) enter(now time.Duration, gen uint64) uint64 {
	for {
		places := f.places.Load()
		hint := rand.Uint32()
		for try := range uint32(16) {
			i := (hint + try*7) & (places - 1)
			p := f.at(i)
			if p.start.Load() == 0 && p.start.CompareAndSwap(0, claimed) {
				p.gen.Store(gen)
				p.start.Store(int64(now))
				f.lower(int64(now))
				return uint64(i) + 1
			}
		}
		if !f.more(places) {
			return 0
		}
	}
}

// lower tells oldest of a call that began at start.
func (f *flights) lower(start int64) {
	for {
		oldest := f.oldest.Load()
		if start >= oldest || f.oldest.CompareAndSwap(oldest, start) {
			return
		}
	}
}

// more doubles the places, unless somebody else has, and reports whether there may be a free
// one now.
func (f *flights) more(places uint32) bool {
	f.grow.Lock()
	defer f.grow.Unlock()
	if f.places.Load() != places {
		return true
	}
	k := bits.Len32(places / firstChunk)
	if k == maxChunks {
		return false
	}
	chunk := make([]flight, places)
	f.chunks[k].Store(&chunk)
	f.places.Store(2 * places)
	return true
}

// leave gives the place back. It reports false if the place was taken away before.
func (f *flights) leave(place uint64, start time.Duration) bool {
	// The start tells the owner: a place that was taken away is never given again to a call
	// that began at the same time.
	return f.at(uint32(place-1)).start.CompareAndSwap(int64(start), 0)
}

// due reports whether a call may have become slow since the last look, and that is long
// enough ago.
func (f *flights) due(now, slowCall time.Duration) bool {
	return f.overdue(now, slowCall) &&
		int64(now)-f.looked.Load() >= int64(f.places.Load())*int64(lookInterval)
}

func (f *flights) overdue(now, slowCall time.Duration) bool {
	return int64(now)-f.oldest.Load() > int64(slowCall)
}

// look counts the calls of generation gen that are in flight and slow. Places held from
// another generation are taken away: their calls count no more, and may never end. The
// breaker's lock is held.
func (f *flights) look(now time.Duration, gen uint64, slowCall time.Duration) {
	// Both come first: who enters from here on lowers oldest again, and who leaves sees that he
	// may have been counted.
	f.oldest.Store(math.MaxInt64)
	f.looked.Store(int64(now))
	oldest, slow := int64(math.MaxInt64), 0
	f.each(func(p *flight) {
		start := p.start.Load()
		if start <= 0 {
			return
		}
		switch p.gen.Load() {
		case gen:
			if p.start.Load() != start {
				return // left while we looked
			}
			if int64(now)-start > int64(slowCall) {
				slow++
			} else {
				oldest = min(oldest, start)
			}
		default:
			if start < int64(now) {
				p.start.CompareAndSwap(start, 0)
			}
		}
	})
	f.lower(oldest)
	f.slow = slow
}

// again makes the next look find those slow that the last one found. The breaker's lock is held.
func (f *flights) again() {
	f.slow = 0
	f.looked.Store(math.MinInt64 / 2)
	f.oldest.Store(math.MinInt64 / 2)
}

func (f *flights) each(visit func(*flight)) {
	for k := range f.chunks {
		chunk := f.chunks[k].Load()
		if chunk == nil {
			return
		}
		for i := range *chunk {
			visit(&(*chunk)[i])
		}
	}
}

// leaveSlow gives back the place of a slow call of this generation. The breaker's lock is held.
func (f *flights) leaveSlow(place uint64, start, slowCall time.Duration) {
	if f.leave(place, start) && f.looked.Load()-int64(start) > int64(slowCall) {
		f.slow-- // the last look had counted it
	}
}
