package tholetest

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

// sharesFn runs the fn of whichever call came last.
type sharesFn struct {
	mu sync.Mutex
	fn fnType
}

func (s *sharesFn) Do(ctx context.Context, fn fnType) error {
	s.mu.Lock()
	s.fn = fn
	s.mu.Unlock()
	runtime.Gosched()
	s.mu.Lock()
	fn = s.fn
	s.mu.Unlock()
	return good(ctx, fn)
}

// sharesErr returns the error of whichever call ended last.
type sharesErr struct {
	mu  sync.Mutex
	err error
}

func (s *sharesErr) Do(ctx context.Context, fn fnType) error {
	err := good(ctx, fn)
	s.mu.Lock()
	s.err = err
	s.mu.Unlock()
	time.Sleep(time.Microsecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.err
}

// gate is a bulkhead that never waits.
type gate struct {
	limit  int64
	full   error
	leaks  bool // a permit, when fn does not return
	inside atomic.Int64
}

func (g *gate) Do(ctx context.Context, fn fnType) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if g.inside.Add(1) > g.limit {
		g.inside.Add(-1)
		return g.full
	}
	if g.leaks {
		err := fn(ctx)
		g.inside.Add(-1)
		return err
	}
	defer g.inside.Add(-1)
	return fn(ctx)
}

func bothErrors(ctx context.Context) error {
	return fmt.Errorf("%w: %w", thole.ErrRejected, ctx.Err())
}

// semaphore is a bulkhead that waits.
type semaphore struct {
	places   chan struct{}
	ended    func(context.Context) error
	deaf     bool // to ctx
	leaks    bool // a place, when a wait has ended
	abandons bool // a place, when fn does not return

	lost atomic.Int64
}

func (s *semaphore) Do(ctx context.Context, fn fnType) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.lost.Load() > 100 {
		return thole.ErrRejected
	}
	if s.deaf {
		s.places <- struct{}{}
	} else {
		select {
		case s.places <- struct{}{}:
		case <-ctx.Done():
			if s.leaks {
				s.lost.Add(1)
			}
			return s.ended(ctx)
		}
	}
	if s.abandons {
		err := fn(ctx)
		<-s.places
		return err
	}
	defer func() { <-s.places }()
	return fn(ctx)
}

// locker runs fn under a mutex that a panic leaves locked.
type locker struct{ mu sync.Mutex }

func (l *locker) Do(ctx context.Context, fn fnType) error {
	l.mu.Lock()
	err := good(ctx, fn)
	l.mu.Unlock()
	return err
}

// countsErrors is a breaker that never recovers: it opens for a minute.
type countsErrors struct {
	panics, goexits bool // count too
	failures        atomic.Int64
	until           atomic.Pointer[time.Time]
}

var errOpen = thole.Rejection(thole.ReasonOpen, "open")

func (c *countsErrors) Do(ctx context.Context, fn fnType) (err error) {
	if err := ctx.Err(); err != nil {
		return err
	}
	if until := c.until.Load(); until != nil && time.Now().Before(*until) {
		return errOpen
	}
	returned, panicking := false, true
	defer func() {
		switch {
		case returned && err == nil:
			c.failures.Store(0)
			return
		case !returned && panicking && !c.panics, !returned && !panicking && !c.goexits:
			return
		}
		if c.failures.Add(1) >= 20 {
			until := time.Now().Add(time.Minute)
			c.until.Store(&until)
		}
	}()
	err = func() error {
		defer func() { panicking = goexits(&returned) }()
		err := fn(ctx)
		returned = true
		return err
	}()
	return err
}

// goexits tells a panic from a Goexit by the goroutine's stack.
func goexits(returned *bool) (panicking bool) {
	if *returned {
		return false
	}
	var pcs [64]uintptr
	frames := runtime.CallersFrames(pcs[:runtime.Callers(0, pcs[:])])
	for {
		f, more := frames.Next()
		if f.Function == "runtime.gopanic" {
			return true
		}
		if !more {
			return false
		}
	}
}

// recovered runs fn and reports whether it returned.
func recovered(ctx context.Context, fn fnType) (err error, ok bool) {
	defer func() {
		if !ok {
			_ = recover()
		}
	}()
	return good(ctx, fn), true
}

// retries runs fn up to three times; the runs after the first are made by again.
func retries(again func(ctx context.Context, fn fnType) error) func() thole.Policy {
	return each(func(ctx context.Context, fn fnType) error {
		err := good(ctx, fn)
		for n := 1; n < 3 && err != nil && ctx.Err() == nil && !errors.Is(err, thole.ErrRejected); n++ {
			err = again(ctx, fn)
		}
		return err
	})
}

// prober is a breaker that opens for a second and lets one probe through at a time.
type prober struct {
	ctxFirst bool // looks at ctx before anything else
	returns  bool // the probe's place, when ctx was done

	mu       sync.Mutex
	failures int
	until    time.Time
	probing  bool
}

func (p *prober) Do(ctx context.Context, fn fnType) error {
	if err := ctx.Err(); p.ctxFirst && err != nil {
		return err
	}
	if !p.enter() {
		if err := ctx.Err(); !p.returns && err != nil {
			return err
		}
		return errOpen
	}
	if err := ctx.Err(); err != nil {
		p.mu.Lock()
		defer p.mu.Unlock()
		p.probing = p.probing && !p.returns
		return err
	}
	ok := false
	defer func() { p.leave(ok) }()
	err := fn(ctx)
	ok = err == nil
	return err
}

func (p *prober) enter() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.failures < 5 {
		return true
	}
	if p.probing || time.Now().Before(p.until) {
		return false
	}
	p.probing = true
	return true
}

func (p *prober) leave(ok bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.probing = false
	if ok {
		p.failures = 0
		return
	}
	p.failures++
	p.until = time.Now().Add(time.Second)
}

// inGoroutine raises fn's panic where its stack is not.
func inGoroutine(ctx context.Context, fn fnType) error {
	done := make(chan any, 1)
	var err error
	go func() {
		defer func() { done <- recover() }()
		err = good(ctx, fn)
	}()
	if r := <-done; r != nil {
		panic(r)
	}
	return err
}

// hooked tells its hook of every failure.
type hooked struct {
	hook    func()
	locked  bool // during the hook
	spoils  bool // itself, when the hook panics
	mu      sync.Mutex
	spoiled atomic.Bool
}

func (h *hooked) Do(ctx context.Context, fn fnType) error {
	if h.locked {
		h.mu.Lock()
		defer h.mu.Unlock()
	}
	if h.spoiled.Load() {
		return errors.Join(thole.ErrRejected)
	}
	err := good(ctx, fn)
	if err != nil {
		h.spoiled.Store(h.spoils)
		h.hook()
		h.spoiled.Store(false)
	}
	return err
}

// rwHooked holds a lock for reading during its hook, and takes it for writing to count.
type rwHooked struct {
	hook  func()
	mu    sync.RWMutex
	calls int
}

func (h *rwHooked) Do(ctx context.Context, fn fnType) error {
	h.mu.Lock()
	h.calls++
	h.mu.Unlock()
	err := good(ctx, fn)
	if err != nil {
		h.mu.RLock()
		defer h.mu.RUnlock()
		h.hook()
	}
	return err
}

// chanHooked has a channel for its lock.
type chanHooked struct {
	hook func()
	turn chan struct{}
}

func (h *chanHooked) Do(ctx context.Context, fn fnType) error {
	h.turn <- struct{}{}
	defer func() { <-h.turn }()
	err := good(ctx, fn)
	if err != nil {
		h.hook()
	}
	return err
}

// described gives its own slice away.
type described struct{ settings []thole.Setting }

func (d *described) Do(ctx context.Context, fn fnType) error { return good(ctx, fn) }

func (d *described) Describe() thole.Description {
	return thole.Description{Kind: "described", Settings: d.settings}
}

// sliced is a chain that does not copy.
type sliced []thole.Policy

func (s sliced) Do(ctx context.Context, fn fnType) error {
	if len(s) == 0 {
		return good(ctx, fn)
	}
	return s[0].Do(ctx, func(ctx context.Context) error { return s[1:].Do(ctx, fn) })
}
