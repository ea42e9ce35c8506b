package ratelimit

// calls is what a sliding window remembers of admitted calls. It is pure: times come as
// arguments and never go back.
type calls interface {
	// free reports whether n ≤ limit tokens can be taken at now.
	free(n int, now int64) bool
	// place returns the first time, not before from, at which they can; false if there is none.
	place(n int, from int64) (int64, bool)
	// book records that they were taken.
	book(n int, at int64)
	// used returns how many tokens now's window counts.
	used(now int64) int
	// fork returns a copy to plan on.
	fork() calls
}

// exact is a log of the calls of the last window: at most limit tokens in any interval
// [t, t + window). Calls within one nanosecond share an entry, of 16 bytes.
type exact struct {
	limit  int
	window int64

	ring  []entry // len is a power of 2, or 0
	first int     // index of the oldest
	len   int
	total int // tokens in the ring
}

type entry struct {
	at int64
	n  int
}

func (x *exact) entry(i int) *entry { return &x.ring[(x.first+i)&(len(x.ring)-1)] }

// expire forgets the calls that no window with now in it contains.
func (x *exact) expire(now int64) {
	for x.len > 0 && now-x.entry(0).at >= x.window {
		x.total -= x.entry(0).n
		x.first = (x.first + 1) & (len(x.ring) - 1)
		x.len--
	}
}

func (x *exact) free(n int, now int64) bool {
	x.expire(now)
	return n <= x.limit-x.total
}

func (x *exact) place(n int, from int64) (int64, bool) {
	need := x.total + n - x.limit // so many must expire
	at := from
	for i := 0; need > 0 && i < x.len; i++ {
		e := x.entry(i)
		need -= e.n
		at = max(from, e.at+x.window)
	}
	return at, need <= 0
}

func (x *exact) book(n int, at int64) {
	x.expire(at)
	x.total += n
	if x.len > 0 && x.entry(x.len-1).at == at {
		x.entry(x.len - 1).n += n
		return
	}
	if x.len == len(x.ring) {
		x.grow()
	}
	x.len++
	*x.entry(x.len - 1) = entry{at, n}
}

func (x *exact) grow() {
	ring := make([]entry, max(2*len(x.ring), 8))
	for i := range x.len {
		ring[i] = *x.entry(i)
	}
	x.ring, x.first = ring, 0
}

func (x *exact) used(now int64) int {
	x.expire(now)
	return x.total
}

func (x *exact) fork() calls {
	c := *x
	c.ring = append([]entry(nil), x.ring...)
	return &c
}
