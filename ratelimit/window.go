package ratelimit

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/clock"
)

// SlidingWindow admits at most Limit calls in a window of time that ends now: with Exact in
// any interval of that length, otherwise by an estimate in constant memory, whose worst case
// is 2 × Limit − 1 calls in such an interval. Unlike a [TokenBucket] it gives a whole window's
// calls at once and then none until they are past.
//
// Those that wait are served in order, and nobody passes them: while somebody waits, Allow is
// false. A call that is refused takes nothing.
//
// All methods are safe for concurrent use.
type SlidingWindow struct {
	base time.Time

	line     // its mu guards what follows
	calls    calls
	cfg      SlidingWindowConfig
	admitted int
	rejected int

	// Read without the lock.
	limit    atomic.Int64
	maxWait  atomic.Int64
	shadow   atomic.Bool
	limited  atomic.Pointer[LimitError]
	tooLarge atomic.Pointer[burstError]
}

var _ thole.Gate = (*SlidingWindow)(nil)

// NewSlidingWindow returns an empty window. It panics if cfg is invalid.
func NewSlidingWindow(cfg SlidingWindowConfig) *SlidingWindow {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	// So that the estimate's grid of windows begins now.
	grid := clock.Headroom % cfg.Window
	s := &SlidingWindow{base: clock.Base().Add(grid)}
	if cfg.Exact {
		s.calls = &exact{limit: cfg.Limit, window: int64(cfg.Window)}
	} else {
		s.calls = &estimate{limit: cfg.Limit, window: int64(cfg.Window)}
	}
	s.configure(cfg)
	return s
}

func (s *SlidingWindow) configure(cfg SlidingWindowConfig) {
	s.cfg = cfg
	s.limit.Store(int64(cfg.Limit))
	s.maxWait.Store(int64(cfg.MaxWait))
	s.shadow.Store(cfg.Shadow)
	if old := s.limited.Load(); old == nil || old.Name != cfg.Name {
		s.limited.Store(&LimitError{Name: cfg.Name, source: s})
		s.tooLarge.Store(&burstError{name: cfg.Name})
	}
}

// try takes n tokens if they are free and nobody waits. A call that will not wait for them is
// counted as refused otherwise.
func (s *SlidingWindow) try(n int, wait bool, clock *thole.Clock) bool {
	if n == 0 {
		return true
	}
	now := int64(clock.Since(s.base))
	s.mu.Lock()
	if s.head != nil {
		s.mu.Unlock()
		return s.trySlow(n, wait)
	}
	now = max(now, s.seen) // whoever got the lock first may have read the clock later
	s.seen = now
	ok := s.grab(n, now, wait)
	s.mu.Unlock()
	return ok
}

// trySlow is try while somebody waits; but perhaps they are due, and nobody does any more.
func (s *SlidingWindow) trySlow(n int, wait bool) bool {
	now := s.open()
	defer s.close()
	return s.grab(n, now, wait)
}

func (s *SlidingWindow) grab(n int, now int64, wait bool) bool {
	if n > 0 && n <= s.cfg.Limit && s.head == nil && s.calls.free(n, now) {
		s.take(n, now)
		return true
	}
	if !wait {
		s.rejected++
	}
	return false
}

// reject counts a refusal, and reports whether the call goes ahead nevertheless.
func (s *SlidingWindow) reject() bool {
	s.mu.Lock()
	s.rejected++
	s.mu.Unlock()
	return s.shadow.Load()
}

// Allow takes a token if there is one, and reports whether it did. It never waits, and never
// passes those that do.
func (s *SlidingWindow) Allow() bool { return s.AllowN(1) }

// AllowN takes n tokens if there are as many, and reports whether it did; otherwise it takes
// none. No token is always to be had; fewer than none, and more than Limit, never.
func (s *SlidingWindow) AllowN(n int) bool { return s.try(n, false, nil) || s.shadow.Load() }

// Wait waits for a token as long as ctx allows, whatever MaxWait says. See WaitN.
func (s *SlidingWindow) Wait(ctx context.Context) error { return s.WaitN(ctx, 1) }

// WaitN waits for n tokens, in line behind those that came before, and takes them. On an error
// it has taken none:
//
//   - ctx.Err(), if ctx has ended on entry;
//   - an error matching [ErrBurst], at once, if n is more than Limit or less than 0;
//   - a *[LimitError], at once, if the tokens come only when the deadline of ctx has passed, and
//     at any time when Reconfigure makes it so. It does not match context.DeadlineExceeded,
//     for that has not happened;
//   - an error matching [ErrLimited], the error of ctx and its cause, if ctx ends meanwhile.
//
// To foresee the time costs a look at all that wait, and with Exact at all calls of the window;
// only a call that has to wait, and is bounded, pays it.
func (s *SlidingWindow) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if s.try(n, true, nil) {
		return nil
	}
	return s.wait(ctx, n, -1)
}

// Enter takes a token for a call, and waits for it up to MaxWait. See WaitN for its errors; a
// wait longer than MaxWait is refused like one beyond the deadline.
func (s *SlidingWindow) Enter(ctx context.Context, clock *thole.Clock) (thole.Ticket, error) {
	return thole.Ticket{}, s.enter(ctx, clock)
}

// Leave does nothing: a token spent is spent, however the call ends.
func (s *SlidingWindow) Leave(context.Context, thole.Ticket, error, *thole.Clock) {}

// Do takes a token, waiting for it up to MaxWait, and runs fn. Without one, fn does not run:
// see WaitN for the errors. The token of a call that fails does not come back.
func (s *SlidingWindow) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if err := s.enter(ctx, nil); err != nil {
		return err
	}
	return fn(ctx)
}

func (s *SlidingWindow) enter(ctx context.Context, clock *thole.Clock) error {
	maxWait := time.Duration(s.maxWait.Load())
	switch {
	case s.try(1, maxWait != 0, clock):
		return nil
	case maxWait != 0:
		defer clock.Forget()
		return s.wait(ctx, 1, maxWait)
	case s.shadow.Load():
		return nil
	}
	return s.limited.Load()
}

// wait gets in line for n tokens.
func (s *SlidingWindow) wait(ctx context.Context, n int, maxWait time.Duration) error {
	state := refused
	switch {
	case n < 0 || int64(n) > s.limit.Load():
		state = tooMany
	case !s.shadow.Load():
		state = s.line.wait(ctx, s, n, maxWait)
	}
	switch {
	case state == served:
		return nil
	case s.reject():
		return nil
	case state == left:
		return newWaitError(ctx, s.limited.Load().Name)
	case state == tooMany:
		return s.tooLarge.Load()
	}
	return s.limited.Load()
}

func (s *SlidingWindow) open() int64 {
	s.mu.Lock()
	now := max(int64(time.Since(s.base)), s.seen)
	s.serve(s, now)
	return now
}

func (s *SlidingWindow) close() {
	s.tell()
	s.mu.Unlock()
}

func (s *SlidingWindow) due(n int, from int64) (int64, bool) { return s.calls.place(n, from) }

func (s *SlidingWindow) behind(n int, now int64) (int64, bool) {
	if n > s.cfg.Limit {
		return 0, false
	}
	if s.head == nil {
		return s.calls.place(n, now)
	}
	return s.line.behind(s.calls.fork(), n, now)
}

func (s *SlidingWindow) take(n int, at int64) {
	s.calls.book(n, at)
	s.admitted++
}

func (s *SlidingWindow) retryAfter() time.Duration {
	now := s.open()
	defer s.close()
	at, _ := s.behind(1, now)
	return min(until(at, now), never)
}

// InUse reports whether forgetting the limiter would lose something: somebody waits, or there
// are calls in the window.
func (s *SlidingWindow) InUse() bool {
	now := s.open()
	defer s.close()
	return s.head != nil || s.calls.used(now) > 0
}

// Stats returns a snapshot.
func (s *SlidingWindow) Stats() Stats {
	now := s.open()
	defer s.close()
	return Stats{
		Admitted:  s.admitted,
		Rejected:  s.rejected,
		Waiting:   s.len,
		Available: max(s.cfg.Limit-s.calls.used(now), 0),
	}
}

// Reconfigure changes the limiter in place. An invalid cfg changes nothing and is returned as
// an error. The calls in the window stay in it; a longer window reaches back only as far as
// the shorter one did. Where the estimate's grid changes, or exact and estimate change places,
// all calls still in the window count as if they had come just now. Those that wait keep
// their places and get new times; who cannot be served in time any more is refused at once.
func (s *SlidingWindow) Reconfigure(cfg SlidingWindowConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	now := s.open()
	defer s.close()
	s.calls = convertCalls(s.calls, cfg, now)
	s.configure(cfg)
	s.serve(s, now)
	s.review(s.calls.fork(), cfg.Limit, now)
	s.serve(s, now)
	return nil
}

// convertCalls carries what old remembers over to another configuration.
func convertCalls(old calls, cfg SlidingWindowConfig, now int64) calls {
	used := old.used(now) // brings it to now, too
	window := int64(cfg.Window)
	switch old := old.(type) {
	case *exact:
		if cfg.Exact {
			old.limit, old.window = cfg.Limit, window
			old.expire(now)
			return old
		}
	case *estimate:
		if !cfg.Exact && old.window == window {
			old.limit = cfg.Limit
			return old
		}
	}
	var fresh calls = &estimate{limit: cfg.Limit, window: window, start: now}
	if cfg.Exact {
		fresh = &exact{limit: cfg.Limit, window: window}
	}
	if used > 0 {
		fresh.book(used, now)
	}
	return fresh
}

// Describe tells the configuration in force.
func (s *SlidingWindow) Describe() thole.Description {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.cfg.describe()
}

// String returns "ratelimit[name]", or "ratelimit" without a name.
func (s *SlidingWindow) String() string { return label(s.limited.Load().Name) }
