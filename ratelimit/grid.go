package ratelimit

import (
	"math/bits"
	"sync/atomic"
	"time"
)

// grid is the rule of the estimate. Its times count from the origin.
type grid struct {
	limit  int
	window int64
}

// tally is the state of the estimate.
type tally struct {
	part              int64 // of the grid, the current one
	previous, current int
}

// roll makes the part of the grid that contains now the current one. An older reading of the
// clock, made before another call was counted in a later part, moves nothing back.
func (g *grid) roll(t tally, now int64) tally {
	if now-t.part*g.window < g.window {
		return t
	}
	part := now / g.window
	if part > t.part+1 {
		t.current = 0
	}
	return tally{part: part, previous: t.current}
}

// left returns how much of the current part is left at now.
func (g *grid) left(t tally, now int64) int64 {
	return g.window - max(now-t.part*g.window, 0)
}

// free reports whether n tokens can be taken at now, which is not beyond the current part.
func (g *grid) free(t tally, n int, now int64) bool {
	room := g.limit - t.current - n
	if room < 0 {
		return false
	}
	// previous × left ≤ room × window, in 128 bits.
	hi, lo := bits.Mul64(uint64(t.previous), uint64(g.left(t, now)))
	mostHi, mostLo := bits.Mul64(uint64(room), uint64(g.window))
	return hi < mostHi || hi == mostHi && lo <= mostLo
}

// gridEpoch is an epoch of the estimate. Its word holds the part of the grid, the counts of the
// previous one and its own, in as many bits each as the limit needs, and the calls admitted.
//
// With a limit of 1,000 the word lasts for 2³⁵ parts, with 1,000,000 for 2¹⁵, with 100,000,000
// for two. The first call after that, or rather the first slow one after half of it, makes a new
// epoch with a later origin. Where a word would not last a millisecond, and from a limit of
// 2²⁷ on, every call goes the slow way.
type gridEpoch struct {
	epoch
	grid
	width uint8 // bits of a count

	full atomic.Int64 // ns since base: there is no token until then, however the calls that follow go
}

// newGridEpoch returns an epoch whose word is held.
func newGridEpoch(cfg SlidingWindowConfig, origin int64) *gridEpoch {
	e := new(gridEpoch)
	e.begin(cfg, origin)
	return e
}

func (e *gridEpoch) begin(cfg SlidingWindowConfig, origin int64) {
	e.origin, e.most, e.shadow, e.maxWait, e.slow = origin, cfg.Limit, cfg.Shadow, cfg.MaxWait, true
	e.grid = grid{cfg.Limit, int64(cfg.Window)}
	e.word.Store(held)
	if !cfg.Exact {
		e.fit()
	}
}

// fit finds places for all in the word.
func (e *gridEpoch) fit() {
	e.width = uint8(bits.Len(uint(e.limit)))
	left := 63 - callBits - 2*int(e.width)
	if left < 1 {
		return
	}
	parts := min(1<<left, 1<<62/e.window)
	e.horizon = parts*e.window - 1
	e.slow = e.horizon < int64(time.Millisecond)
}

func (e *gridEpoch) mask() int64 { return 1<<(e.width&63) - 1 }

// unpack returns the state that the word holds, but for the calls.
func (e *gridEpoch) unpack(word int64) tally {
	width, mask := e.width&63, e.mask()
	word >>= callBits
	current := word & mask
	word >>= width
	return tally{part: word >> width, previous: int(word & mask), current: int(current)}
}

func (e *gridEpoch) pack(t tally) int64 {
	width := e.width & 63
	return ((t.part<<width|int64(t.previous))<<width | int64(t.current)) << callBits
}

// admit returns the state after a call of n tokens at now; false if they are not free.
func (e *gridEpoch) admit(word int64, n int, now int64) (int64, bool) {
	t := e.roll(e.unpack(word), now)
	if !e.free(t, n, now) {
		return 0, false
	}
	t.current += n
	return e.pack(t), true
}
