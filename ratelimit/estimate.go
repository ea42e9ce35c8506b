package ratelimit

import (
	"math"
	"math/bits"
)

// estimate counts the calls of the current and the previous part of a fixed grid, whose parts
// are a window long, and supposes that those of the previous one came evenly: with the share f
// of the current part gone, previous × (1 − f) + current is at most the limit. The method is
// that of "How we built rate limiting capable of scaling to millions of domains" (Cloudflare,
// 2017).
//
// The worst case: the previous part's calls p ≤ limit all came at its very end. Up to the
// share f then limit − p × (1 − f) more may come, so one interval of the window's length
// sees up to limit + p × f < 2 × limit: at most 2 × limit − 1. In the other direction, calls
// that came at the beginning of the previous part are counted when they are past already.
// A part of the grid never sees more than the limit.
type estimate struct {
	grid
	tally
	origin int64 // where part 0 begins
}

func (e *estimate) roll(now int64) { e.tally = e.grid.roll(e.tally, now-e.origin) }

// rebase moves the origin to the current part.
func (e *estimate) rebase() {
	e.origin += e.part * e.window
	e.part = 0
}

func (e *estimate) free(n int, now int64) bool {
	e.roll(now)
	return e.grid.free(e.tally, n, now-e.origin)
}

func (e *estimate) place(n int, from int64) (int64, bool) {
	if n > e.limit {
		return 0, false // also of one in line since before the limit was lowered
	}
	c := *e
	c.roll(from)
	for {
		start := c.origin + c.part*c.window
		if n <= c.limit-c.current {
			after := c.window - c.weightless(c.limit-c.current-n)
			if after < c.window && start <= math.MaxInt64-after {
				return max(from, start+after), true
			}
		}
		if start > math.MaxInt64-c.window {
			return 0, false // none in this age
		}
		from = start + c.window
		c.roll(from)
	}
}

// weightless returns how long before the end of the current part the calls of the previous
// one weigh no more than room.
func (e *estimate) weightless(room int) int64 {
	if room >= e.previous {
		return e.window
	}
	hi, lo := bits.Mul64(uint64(room), uint64(e.window))
	q, _ := bits.Div64(hi, lo, uint64(e.previous))
	return int64(q)
}

func (e *estimate) book(n int, at int64) {
	e.roll(at)
	e.current += n
}

// used returns the estimate, rounded up.
func (e *estimate) used(now int64) int {
	e.roll(now)
	hi, lo := bits.Mul64(uint64(e.previous), uint64(e.left(e.tally, now-e.origin)))
	q, r := bits.Div64(hi, lo, uint64(e.window))
	if r > 0 {
		q++
	}
	return int(q) + e.current
}

func (e *estimate) fork() calls {
	c := *e
	return &c
}
