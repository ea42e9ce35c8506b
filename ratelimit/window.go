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
// The estimate admits by one compare-and-swap, also where a part of its grid begins, and takes no
// lock to refuse a call. Nor does Exact, once a refusal has found that there is no token, until
// there is one. It takes one for a call that it admits, which enters a log, with any number of
// tokens at once: a ring whose single places are claimed by compare-and-swap would have to be
// there whole from the beginning (8 MB for the largest Limit), and would need the lock for AllowN
// all the same. The lock costs 10 ns (50 against 40), and with two threads at once it costs no
// more than the estimate's retries do.
//
// All methods are safe for concurrent use.
type SlidingWindow struct {
	base  time.Time
	epoch atomic.Pointer[gridEpoch]
	first gridEpoch // where the pointer points to at first: beside it, for the sake of the cache

	refusals

	line           // its mu guards what follows
	calls    calls // in force while the epoch's word is held; else it is stale
	admitted int   // without what the word counts
	cfg      SlidingWindowConfig
}

var _ thole.Gate = (*SlidingWindow)(nil)

// NewSlidingWindow returns an empty window. It panics if cfg is invalid.
func NewSlidingWindow(cfg SlidingWindowConfig) *SlidingWindow {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	s := &SlidingWindow{base: clock.Base(), cfg: cfg}
	s.seen = s.clock()
	s.calls = newCalls(cfg, s.seen)
	s.first.begin(cfg, s.seen)
	s.epoch.Store(&s.first)
	s.setName(cfg.Name, s)
	if !s.first.slow {
		s.first.release(0)
	}
	return s
}

// newCalls returns the memory of a window that begins now.
func newCalls(cfg SlidingWindowConfig, now int64) calls {
	if cfg.Exact {
		return &exact{limit: cfg.Limit, window: int64(cfg.Window)}
	}
	return &estimate{grid: grid{cfg.Limit, int64(cfg.Window)}, origin: now}
}

func (s *SlidingWindow) clock() int64 { return int64(time.Since(s.base)) }

// try takes n tokens if they are free and nobody waits, and counts the call; it writes nothing
// otherwise.
func (s *SlidingWindow) try(n int, clock *thole.Clock) bool {
	e := s.epoch.Load()
	for uint(n-1) < uint(e.most) {
		word := e.word.Load()
		if word == held {
			break
		}
		var now int64
		if clock == nil { // a call less, which is 1 ns
			now = s.clock() - e.origin
		} else {
			now = int64(clock.Since(s.base)) - e.origin
		}
		if uint64(now) > uint64(e.horizon) {
			break
		}
		state, ok := e.admit(word, n, now)
		if !ok {
			return false
		}
		if word&lapMask == lapMask {
			e.lap()
		}
		if e.word.CompareAndSwap(word, another(word, state)) {
			return true
		}
	}
	return s.trySlow(e, n, clock)
}

// trySlow is try with Exact, for unusual numbers, and while somebody waits; but perhaps they are
// due, and nobody does any more.
func (s *SlidingWindow) trySlow(e *gridEpoch, n int, clock *thole.Clock) bool {
	if n <= 0 {
		return n == 0
	}
	full := e.full.Load()
	now := int64(clock.Since(s.base)) // read before the lock, which is held for a shorter time so
	// A time further ahead than a window is that of another clock: see rewound.
	if uint64(full-now-1) < uint64(e.window) {
		return false
	}
	s.mu.Lock()
	if s.head != nil || !s.epoch.Load().slow || s.seen-now > rewound {
		now = s.update()
		ok := s.grab(n, now)
		s.close()
		return ok
	}
	s.seen = max(now, s.seen) // whoever got the lock first may have read the clock later
	ok := s.grab(n, s.seen)
	s.mu.Unlock()
	return ok
}

// grab takes n tokens if they are free and nobody waits.
func (s *SlidingWindow) grab(n int, now int64) bool {
	ok := n <= s.cfg.Limit && s.head == nil && s.calls.free(n, now)
	if ok {
		s.take(n, now)
	} else if at, _ := s.calls.place(1, now); at > now {
		s.epoch.Load().full.Store(at)
	}
	return ok
}

// Allow takes a token if there is one, and reports whether it did. It never waits, and never
// passes those that do.
func (s *SlidingWindow) Allow() bool { return s.try(1, nil) || s.letPass() }

// AllowN takes n tokens if there are as many, and reports whether it did; otherwise it takes
// none. No token is always to be had; fewer than none, and more than Limit, never.
func (s *SlidingWindow) AllowN(n int) bool { return s.try(n, nil) || s.letPass() }

// letPass counts a refusal, and reports whether the call goes ahead nevertheless.
func (s *SlidingWindow) letPass() bool {
	s.rejected.Add(1)
	return s.epoch.Load().shadow
}

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
	if s.try(n, nil) {
		return nil
	}
	return s.wait(ctx, n, -1)
}

// Enter takes a token for a call, and waits for it up to MaxWait. See WaitN for its errors; a
// wait longer than MaxWait is refused like one beyond the deadline.
func (s *SlidingWindow) Enter(ctx context.Context, clock *thole.Clock) (thole.Ticket, error) {
	if s.try(1, clock) {
		return thole.Ticket{}, nil
	}
	defer clock.Forget()
	return thole.Ticket{}, s.enterSlow(ctx)
}

// Leave does nothing: a token spent is spent, however the call ends.
func (s *SlidingWindow) Leave(context.Context, thole.Ticket, error, *thole.Clock) {}

// Do takes a token, waiting for it up to MaxWait, and runs fn. Without one, fn does not run:
// see WaitN for the errors. The token of a call that fails does not come back.
func (s *SlidingWindow) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !s.try(1, nil) {
		if err := s.enterSlow(ctx); err != nil {
			return err
		}
	}
	return fn(ctx)
}

// enterSlow decides on a call for which there is no token now.
func (s *SlidingWindow) enterSlow(ctx context.Context) error {
	e := s.epoch.Load()
	if e.maxWait != 0 {
		return s.wait(ctx, 1, e.maxWait)
	}
	return s.refuse(e.shadow)
}

// wait gets in line for n tokens.
func (s *SlidingWindow) wait(ctx context.Context, n int, maxWait time.Duration) error {
	e := s.epoch.Load()
	state := refused
	switch {
	case uint(n) > uint(e.most):
		state = tooMany
	case !e.shadow:
		if state = s.line.wait(ctx, s, n, maxWait); state == elsewhere {
			return s.wait(ctx, n, maxWait)
		}
	}
	return s.waited(ctx, state, e.shadow)
}

// open locks, takes the state over from the fast path, and serves who is due.
func (s *SlidingWindow) open() int64 {
	s.mu.Lock()
	return s.update()
}

func (s *SlidingWindow) update() int64 {
	e := s.epoch.Load()
	if word, calls, ok := e.seize(); ok {
		s.calls.(*estimate).tally = e.unpack(word)
		s.admitted += calls
	}
	now := s.clock() // not before what the word counts
	if s.seen-now > rewound {
		s.seen, s.calls = now, newCalls(s.cfg, now)
	}
	now = max(now, s.seen)
	s.serve(s, now)
	return now
}

// close hands the state back to the fast path if it can, and unlocks.
func (s *SlidingWindow) close() {
	if e := s.epoch.Load(); !e.slow && s.head == nil {
		s.publish(e)
	}
	s.tell()
	s.mu.Unlock()
}

// publish puts the counts into the epoch's word, or that of a new epoch if half of this one's
// time has passed.
func (s *SlidingWindow) publish(e *gridEpoch) {
	c := s.calls.(*estimate)
	c.roll(s.seen)
	// Calls kept across a change of the limit can be more than the word's bits can tell.
	if int64(max(c.previous, c.current)) > e.mask() {
		return
	}
	if s.seen-e.origin > e.horizon/2 || c.origin != e.origin {
		c.rebase()
		e = newGridEpoch(s.cfg, c.origin)
		s.epoch.Store(e)
	}
	e.release(e.pack(c.tally))
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

func (s *SlidingWindow) limits() (most int, shadow bool) { return s.cfg.Limit, s.cfg.Shadow }

func (s *SlidingWindow) retryAfter() time.Duration {
	now := s.open()
	defer s.close()
	at, ok := s.behind(1, now)
	if !ok {
		return never
	}
	return min(until(at, now), never)
}

// InUse reports whether forgetting the limiter would lose something: somebody waits, or there
// are calls in the window.
func (s *SlidingWindow) InUse() bool {
	e := s.epoch.Load()
	now := s.clock() - e.origin
	if word := e.word.Load(); word != held && uint64(now) <= uint64(e.horizon) {
		t := e.roll(e.unpack(word), now)
		return t.previous+t.current > 0
	}
	now = s.open()
	defer s.close()
	return s.head != nil || s.calls.used(now) > 0
}

// Stats returns a snapshot.
func (s *SlidingWindow) Stats() Stats {
	now := s.open()
	defer s.close()
	return Stats{
		Admitted:  s.admitted,
		Rejected:  int(s.rejected.Load()),
		Waiting:   s.len,
		Available: max(s.cfg.Limit-s.calls.used(now), 0),
	}
}

// Reconfigure changes the limiter in place. An invalid cfg changes nothing and is returned as
// an error. The calls in the window stay in it; a longer window reaches back only as far as
// the shorter one did. Where the estimate's grid changes, or exact and estimate change places,
// all calls still in the window count as if they had come just now. Those that wait keep
// their places and get new times; who cannot be served in time any more is refused at once. With
// Shadow switched on all of them go on at once.
func (s *SlidingWindow) Reconfigure(cfg SlidingWindowConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	now := s.open()
	defer s.close()
	s.calls = convertCalls(s.calls, cfg, now)
	s.cfg = cfg
	if cfg.Name != s.limited.Load().Name {
		s.setName(cfg.Name, s)
	}
	s.epoch.Store(newGridEpoch(cfg, now))
	s.serve(s, now)
	if cfg.Shadow {
		s.dismiss(excused)
		return nil
	}
	s.review(s.calls.fork(), cfg.Limit, now)
	s.serve(s, now)
	return nil
}

// convertCalls carries what old remembers over to another configuration.
func convertCalls(old calls, cfg SlidingWindowConfig, now int64) calls {
	used := old.used(now) // brings it to now, too
	switch old := old.(type) {
	case *exact:
		if cfg.Exact {
			old.limit, old.window = cfg.Limit, int64(cfg.Window)
			old.expire(now)
			return old
		}
	case *estimate:
		if !cfg.Exact && old.window == int64(cfg.Window) {
			old.limit = cfg.Limit
			return old
		}
	}
	fresh := newCalls(cfg, now)
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
