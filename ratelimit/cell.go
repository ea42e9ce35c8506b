package ratelimit

import (
	"runtime"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole/internal/clock"
)

// shared is what all buckets of a Keyed have in common: the clock, and the numbers of their
// rate. Its epoch's word and origin are not used.
type shared struct {
	base time.Time
	rateEpoch
	cfg TokenBucketConfig
}

func newShared(cfg TokenBucketConfig) *shared {
	s := &shared{base: clock.Base(), cfg: cfg}
	s.begin(cfg, 0)
	if s.mode == metered {
		m := newMeter(cfg.Rate, cfg.Burst)
		s.fit(&m)
	}
	return s
}

func (s *shared) clock() int64 { return int64(time.Since(s.base)) }

// cell is a token bucket without a line and without promises: so small that ten thousand of
// them stay in the processor's cache.
type cell struct {
	*shared
	age    atomic.Pointer[age]
	bucket *TokenBucket // instead, for a rate that does not fit into words
}

// age is the arrival time of a cell, in units since origin. When the horizon is passed another
// age takes its place, and its word is held for ever.
type age struct {
	word   atomic.Int64
	origin int64
}

func newCell(s *shared) *cell {
	c := &cell{shared: s}
	if s.mode == metered && s.slow {
		c.bucket = NewTokenBucket(s.cfg)
		return c
	}
	c.age.Store(&age{origin: s.clock()})
	return c
}

// try takes n tokens if they are there.
func (c *cell) try(n int) bool {
	s := c.shared
	if s.slow || uint(n-1) >= uint(s.most) {
		return c.trySlow(n)
	}
	for {
		a := c.age.Load()
		now := s.clock() - a.origin
		if uint64(now) > uint64(s.horizon) {
			c.renew(a)
			continue
		}
		word := a.word.Load()
		if word == held {
			runtime.Gosched() // another is about to renew it
			continue
		}
		x, cost := now*s.count, int64(n)*s.token
		if x < s.due(word, cost) {
			return false
		}
		if a.word.CompareAndSwap(word, s.after(word, x, cost)) {
			return true
		}
	}
}

func (c *cell) trySlow(n int) bool {
	switch {
	case n <= 0:
		return n == 0
	case c.bucket != nil:
		return c.bucket.try(n, false, nil)
	}
	return c.mode == admitAll
}

// renew moves the origin to now.
func (c *cell) renew(a *age) {
	at := c.clock()
	word := a.word.Swap(held)
	if word == held {
		runtime.Gosched()
		return
	}
	fresh := &age{origin: at}
	fresh.word.Store(max(c.left(word, at-a.origin), -c.count)) // a fraction of a nanosecond counts
	c.age.Store(fresh)
}

// left returns how many units after now, in ns since the origin, the arrival time is: less than
// 0 if it is past. An origin was read before it could be seen: one that lies ahead is of another
// clock, where the cell is as new (see rewound).
func (s *shared) left(word, now int64) int64 {
	if now < 0 || now > 2*s.horizon { // no arrival time is that late, and now × count might not fit
		return -s.count
	}
	return word - now*s.count
}

// InUse reports whether forgetting the cell would lose something: tokens taken that have not
// come back yet.
func (c *cell) InUse() bool {
	if c.bucket != nil {
		return c.bucket.InUse()
	}
	if c.mode != metered {
		return false
	}
	a := c.age.Load()
	word := a.word.Load()
	return word == held || c.left(word, c.clock()-a.origin) > 0
}
