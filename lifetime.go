package thole

import (
	"context"
	"sync"
	"sync/atomic"
)

// Lifetime is how a result can outlive the fn that made it: an HTTP body that is read
// later, a gRPC stream. An edge puts one into the context it gives to a policy; a policy
// that holds something which the result still needs (a context it would cancel, a permit)
// hands the release over with Adopt instead of releasing on return; and the edge ends the
// lifetime when the result is finished with: at EOF, at Close, on an error.
//
// Without a lifetime in ctx ([LifetimeFrom] returns nil) a policy releases on return.
//
// An attempt whose result is given up ends too, before the next one begins: a policy that
// runs fn again notes Mark before each run and calls Rewind with it when it will not return
// that run's result, before it waits. A policy that runs attempts side by side gives each
// a lifetime of its own, ends the losers' and lets the caller's lifetime adopt the winner's.
//
// The zero Lifetime has just begun. Releases run in the order of their adoption, innermost
// first, each exactly once. All
// methods are safe for concurrent use, and do nothing on a nil Lifetime.
type Lifetime struct {
	// How many releases there are, or lifetimeEnded. Most lifetimes hold none or one, so that
	// most of what is asked of them is answered by this word, without the lock (12 ns a time).
	held atomic.Int32

	mu       sync.Mutex // guards what follows, and all changes of held but that from 0 to the end
	releases []Releaser
	first    [3]Releaser // the backing of releases until it outgrows it
}

const lifetimeEnded = -1

// Releaser is what a [Lifetime] calls when it ends.
type Releaser interface{ Release() }

type releaseFunc func()

func (f releaseFunc) Release() { f() }

type lifetimeKey struct{}

type lifetimeCtx struct {
	context.Context
	lifetime Lifetime
}

func (c *lifetimeCtx) Value(key any) any {
	if key == (lifetimeKey{}) {
		return &c.lifetime
	}
	return c.Context.Value(key)
}

// WithLifetime returns a context that carries a new Lifetime, and the Lifetime. Whoever
// calls it must call End on every path.
func WithLifetime(ctx context.Context) (context.Context, *Lifetime) {
	c := &lifetimeCtx{Context: ctx}
	return c, &c.lifetime
}

// LifetimeFrom returns the innermost Lifetime in ctx, or nil.
func LifetimeFrom(ctx context.Context) *Lifetime {
	l, _ := ctx.Value(lifetimeKey{}).(*Lifetime)
	return l
}

// Adopt takes release over: it will be called when the lifetime ends or is rewound. It
// reports false, and leaves release to the caller, if l is nil or has ended already.
func (l *Lifetime) Adopt(release func()) bool { return l.AdoptReleaser(releaseFunc(release)) }

// AdoptReleaser is Adopt for what has its release as a method, and so need not make a function
// of it, which would cost an allocation.
func (l *Lifetime) AdoptReleaser(r Releaser) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	n := l.held.Load()
	if n == lifetimeEnded || !l.held.CompareAndSwap(n, n+1) {
		return false
	}
	if l.releases == nil {
		l.releases = l.first[:0]
	}
	l.releases = append(l.releases, r)
	return true
}

// Mark returns a position for Rewind: what is adopted from now on comes after it.
func (l *Lifetime) Mark() int {
	if l == nil {
		return 0
	}
	return int(max(l.held.Load(), 0))
}

// Rewind calls the releases adopted since mark, and forgets them. The lifetime goes on.
func (l *Lifetime) Rewind(mark int) {
	l.release(mark, false)
}

// End calls the releases that are left and ends the lifetime. Calling it again does
// nothing.
func (l *Lifetime) End() {
	l.release(0, true)
}

// release takes the releases out under the lock and calls them outside of it, so that one may
// use the lifetime.
func (l *Lifetime) release(mark int, end bool) {
	if l == nil || !end && int(l.held.Load()) <= mark || end && l.held.CompareAndSwap(0, lifetimeEnded) {
		return
	}
	l.mu.Lock()
	var taken []Releaser
	switch {
	case end: // even if a Rewind was faster, and nothing is left
		l.held.Store(lifetimeEnded)
		taken, l.releases = l.releases, nil // nothing is adopted any more
	case len(l.releases) > mark:
		// A copy: the backing array may be refilled while these run.
		taken = append(taken, l.releases[mark:]...)
		clear(l.releases[mark:])
		l.releases = l.releases[:mark]
		l.held.Store(int32(mark))
	}
	l.mu.Unlock()
	releaseAll(taken)
}

// releaseAll releases each, even if one before it panics.
func releaseAll(rs []Releaser) {
	for i, r := range rs {
		func() {
			returned := false
			defer func() {
				if !returned {
					releaseAll(rs[i+1:])
				}
			}()
			r.Release()
			returned = true
		}()
	}
}
