// Package stripe counts what many goroutines do at the same time.
//
// A word that several processors write moves from one to the other with each write, which
// costs more than all the rest of a call. So a count may be striped: kept in several words, of
// which each goroutine writes one. To read it is to sum them up, and it takes 0.5 kB. A count
// starts as one word, and is striped when goroutines have got in each other's way often
// enough. The idea is that of LongAdder (Doug Lea, JSR 166; Dice, Lev and Moir, "Scalable
// Statistics Counters", SPAA 2013).
package stripe

import (
	"sync/atomic"
	"unsafe"
)

// N is the number of stripes.
const N = 8

// Index returns the stripe that the calling goroutine should write: a number below N, the same
// as long as its stack stays where it is and is about as deep. It goes by the address of the
// stack, which costs 1 ns; the processor's number would be better, but there is no asking for it,
// and a number at random costs 8 ns and has each processor write all stripes.
func Index() int {
	var here byte
	return int(uint64(uintptr(unsafe.Pointer(&here))) >> 10 * 0x9e3779b97f4a7c15 >> 61)
}

// Tolerated is how often goroutines may get in each other's way before it pays to stripe.
const Tolerated = 16

// Stripes are the stripes of a count, each a T, once there are any. The zero Stripes has none.
type Stripes[T any] struct {
	clashes atomic.Int32
	all     atomic.Pointer[[N]T]
}

// All returns the stripes, or nil as long as there are none: the count is one word then.
func (s *Stripes[T]) All() *[N]T { return s.all.Load() }

// Clash is to be called when goroutines have got in each other's way. It returns the stripes if
// there are any, or if that has happened often enough to make them.
func (s *Stripes[T]) Clash() *[N]T {
	if s.All() == nil && s.clashes.Add(1) > Tolerated {
		s.all.CompareAndSwap(nil, new([N]T))
	}
	return s.All()
}

// Counter is a count that goes up. The zero Counter is 0. It is safe for concurrent use.
type Counter struct {
	n       atomic.Int64
	stripes Stripes[word]
}

// word is alone in its cache line, and the one next to it, which processors fetch along.
type word struct {
	n atomic.Int64
	_ [120]byte
}

// Add adds one.
func (c *Counter) Add() {
	if n := c.n.Load(); c.stripes.All() == nil && c.n.CompareAndSwap(n, n+1) {
		return
	}
	c.add()
}

// add is Add where the one word was contended, or is not used any more.
func (c *Counter) add() {
	if s := c.stripes.Clash(); s != nil {
		s[Index()].n.Add(1)
	} else {
		c.n.Add(1)
	}
}

// Load returns the count. While others add it is one that was true at some time between the
// call and the return.
func (c *Counter) Load() int {
	n := c.n.Load()
	if s := c.stripes.All(); s != nil {
		for i := range s {
			n += s[i].n.Load()
		}
	}
	return int(n)
}
