package thole

import (
	"context"
	"sync"
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
// Releases run in the order of their adoption, innermost first, each exactly once. All
// methods are safe for concurrent use, and do nothing on a nil Lifetime.
type Lifetime struct {
	mu       sync.Mutex
	ended    bool
	releases []func()
	first    [4]func() // the backing of releases until it outgrows it
}

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
func (l *Lifetime) Adopt(release func()) bool {
	if l == nil {
		return false
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.ended {
		return false
	}
	if l.releases == nil {
		l.releases = l.first[:0]
	}
	l.releases = append(l.releases, release)
	return true
}

// Mark returns a position for Rewind: what is adopted from now on comes after it.
func (l *Lifetime) Mark() int {
	if l == nil {
		return 0
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.releases)
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

// release takes the releases one at a time and calls each outside the lock, so that one
// may use the lifetime and a panic in one leaves the others to the deferred rest.
func (l *Lifetime) release(mark int, end bool) {
	if l == nil {
		return
	}
	l.mu.Lock()
	l.ended = l.ended || end
	if len(l.releases) <= mark {
		l.mu.Unlock()
		return
	}
	taken := l.releases[mark:]
	if end {
		l.releases = nil // nothing is adopted any more
	} else {
		// A copy: the backing array may be refilled while these run.
		taken = append([]func(){}, taken...)
		clear(l.releases[mark:])
		l.releases = l.releases[:mark]
	}
	l.mu.Unlock()
	runAll(taken)
}

// runAll calls each function, even if one before it panics.
func runAll(fns []func()) {
	for i, fn := range fns {
		func() {
			returned := false
			defer func() {
				if !returned {
					runAll(fns[i+1:])
				}
			}()
			fn()
			returned = true
		}()
	}
}
