package ratelimit

import (
	"context"
	"math"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/clock"
)

// TokenBucket admits calls as long as there are tokens: it holds at most Burst of them, starts
// full, and gets Rate new ones. So any interval t sees at most Burst + Rate × t, and a caller
// paced at exactly the period is never refused. It is the Generic Cell Rate Algorithm: its
// state is one number.
//
// Those that wait are served in order, and nobody passes them: while somebody waits, Allow is
// false and a Reservation comes behind. A call that is refused takes nothing.
//
// All methods are safe for concurrent use.
type TokenBucket struct {
	base  time.Time
	epoch atomic.Pointer[rateEpoch]
	first rateEpoch // where the pointer points to at first: beside it, for the sake of the cache

	passed atomic.Int64 // calls admitted while Unlimited
	refusals

	line              // its mu guards what follows
	schedule schedule // in force while the epoch's word is held; else its tat is stale
	admitted int      // without what the word counts
	cfg      TokenBucketConfig
}

var _ thole.Gate = (*TokenBucket)(nil)

// rateEpoch is an epoch of a token bucket, and its word holds the arrival time and the calls
// admitted.
//
// The word counts units of 1/count ns since origin, which is exact for any rate. For a rate
// whose period is a whole number of nanoseconds count is 1 and the word lasts for 104 days; for
// 3 per second, 34; for 333,333 per second, 27 s. When the clock has passed the horizon the next
// call makes a new epoch with a later origin. Where even count × the time that the burst takes
// to fill does not fit (52 days for a count of 1), or the count is above 4 million after
// reduction, every call goes the slow way, whose numbers have no such bounds.
type rateEpoch struct {
	epoch
	count, token, depth int64 // as in meter, depth in units
	mode                mode
}

type mode int8

const (
	metered mode = iota
	admitAll
	denyAll
)

const (
	unitsAhead = 1 << (60 - callBits) // most units that a burst may take
	unitsLong  = 1 << (61 - callBits) // most units from the origin to the horizon
	unitsPerNS = 1 << 22
)

// NewTokenBucket returns a full bucket. It panics if cfg is invalid.
func NewTokenBucket(cfg TokenBucketConfig) *TokenBucket {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	cfg = cfg.withDefaults()
	b := &TokenBucket{base: clock.Base(), cfg: cfg}
	e := &b.first
	e.begin(cfg, b.clock())
	if e.mode == metered {
		b.schedule.meter = newMeter(cfg.Rate, cfg.Burst)
		e.fit(&b.schedule.meter)
	}
	if !e.slow {
		e.release(0)
	}
	b.epoch.Store(e)
	b.setName(cfg.Name, b)
	return b
}

// newEpoch returns an epoch whose word is held.
func newEpoch(cfg TokenBucketConfig, origin int64) *rateEpoch {
	e := new(rateEpoch)
	e.begin(cfg, origin)
	return e
}

func (e *rateEpoch) begin(cfg TokenBucketConfig, origin int64) {
	e.origin, e.most, e.shadow, e.maxWait, e.slow = origin, cfg.Burst, cfg.Shadow, cfg.MaxWait, true
	e.word.Store(held)
	switch {
	case cfg.Rate == unlimited():
		e.mode = admitAll
	case cfg.Rate.Count == 0:
		e.mode = denyAll
	}
}

// fit takes over the numbers of m, if they fit into words.
func (e *rateEpoch) fit(m *meter) {
	if m.count > unitsPerNS || m.depth.ns >= unitsAhead/m.count {
		return
	}
	e.count, e.token = m.count, m.token
	e.depth = m.depth.ns*m.count + m.depth.frac
	e.horizon = unitsLong / m.count
	e.slow = false
}

// due and after are GCRA on the word: the time from which a call of that cost may pass, and
// the arrival time when it has passed at x; all in units. See gcra.go for why and when a fraction
// of a nanosecond is kept.
func (e *rateEpoch) due(tat, cost int64) int64 { return tat + cost - e.depth }

func (e *rateEpoch) after(tat, x, cost int64) int64 {
	if tat <= x-e.count {
		tat = x
	}
	return tat + cost
}

func (b *TokenBucket) clock() int64 { return int64(time.Since(b.base)) }

// try takes n tokens and counts the call if they are there. It writes nothing otherwise. If
// that is the last word on the call, a limiter in shadow lets it pass.
func (b *TokenBucket) try(n int, last bool, clock *thole.Clock) bool {
	e := b.epoch.Load()
	for uint(n-1) < uint(e.most) {
		word := e.word.Load()
		if word == held {
			break
		}
		tat, cost := word>>callBits, int64(n)*e.token
		due := e.due(tat, cost)
		var now int64
		if clock == nil { // a call less, which is 1 ns
			now = b.clock() - e.origin
		} else {
			now = int64(clock.Since(b.base)) - e.origin
		}
		if uint64(now) > uint64(e.horizon) {
			break
		}
		x := now * e.count
		if x < due {
			return last && e.shadow && b.letPass()
		}
		if word&lapMask == lapMask {
			e.lap()
		}
		if e.word.CompareAndSwap(word, another(word, e.after(tat, x, cost)<<callBits)) {
			return true
		}
	}
	return b.trySlow(n) || last && e.shadow && b.letPass()
}

// trySlow is try for unusual numbers, and while somebody waits or holds a promise.
func (b *TokenBucket) trySlow(n int) bool {
	if n <= 0 {
		return n == 0
	}
	e := b.epoch.Load()
	if e.mode == admitAll {
		b.passed.Add(1)
		return true
	}
	if e.mode == denyAll || n > e.most {
		return false
	}
	now := b.open()
	defer b.close()
	at, ok := b.behind(n, now)
	if !ok || at > now {
		return false
	}
	b.take(n, now)
	return true
}

// Allow takes a token if there is one, and reports whether it did. It never waits, and never
// passes those that do.
func (b *TokenBucket) Allow() bool { return b.try(1, true, nil) }

// AllowN takes n tokens if there are as many, and reports whether it did; otherwise it takes
// none. No token is always to be had; fewer than none, and more than Burst, never.
func (b *TokenBucket) AllowN(n int) bool { return b.try(n, true, nil) }

// letPass counts a refusal in shadow.
func (b *TokenBucket) letPass() bool {
	b.rejected.Add(1)
	return true
}

// Wait waits for a token as long as ctx allows, whatever MaxWait says. See WaitN.
func (b *TokenBucket) Wait(ctx context.Context) error { return b.WaitN(ctx, 1) }

// WaitN waits for n tokens, in line behind those that came before, and takes them. On an error
// it has taken none:
//
//   - ctx.Err(), if ctx has ended on entry;
//   - an error matching [ErrBurst], at once, if n is more than Burst or less than 0;
//   - a *[LimitError], at once, if the tokens come only when the deadline of ctx has passed, or
//     the rate is 0; and at any time when a change of the rate makes it so. It does not match
//     context.DeadlineExceeded, for that has not happened;
//   - an error matching [ErrLimited], the error of ctx and its cause, if ctx ends meanwhile.
func (b *TokenBucket) WaitN(ctx context.Context, n int) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if b.try(n, false, nil) {
		return nil
	}
	return b.wait(ctx, n, -1)
}

// Enter takes a token for a call, and waits for it up to MaxWait. See WaitN for its errors; a
// wait longer than MaxWait is refused like one beyond the deadline.
func (b *TokenBucket) Enter(ctx context.Context, clock *thole.Clock) (thole.Ticket, error) {
	if b.try(1, false, clock) {
		return thole.Ticket{}, nil
	}
	defer clock.Forget()
	return thole.Ticket{}, b.enterSlow(ctx)
}

// Leave does nothing: a token spent is spent, however the call ends.
func (b *TokenBucket) Leave(context.Context, thole.Ticket, error, *thole.Clock) {}

// Do takes a token, waiting for it up to MaxWait, and runs fn. Without one, fn does not run:
// see WaitN for the errors. The token of a call that fails does not come back.
func (b *TokenBucket) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !b.try(1, false, nil) {
		if err := b.enterSlow(ctx); err != nil {
			return err
		}
	}
	return fn(ctx)
}

// enterSlow decides on a call for which there is no token now.
func (b *TokenBucket) enterSlow(ctx context.Context) error {
	e := b.epoch.Load()
	if e.maxWait != 0 {
		return b.wait(ctx, 1, e.maxWait)
	}
	return b.refuse(e.shadow)
}

// wait gets in line for n tokens.
func (b *TokenBucket) wait(ctx context.Context, n int, maxWait time.Duration) error {
	e := b.epoch.Load()
	state := refused
	switch {
	case n < 0 || e.mode == metered && n > e.most:
		state = tooMany
	case e.shadow:
		state = b.feign(ctx, n, maxWait)
	default:
		state = b.line.wait(ctx, b, n, maxWait)
	}
	if state == elsewhere {
		return b.wait(ctx, n, maxWait)
	}
	return b.waited(ctx, state, e.shadow)
}

// feign is the wait of a limiter in shadow: the tokens are booked for the time at which they
// come, and nobody waits for it. It returns elsewhere if the limiter is in shadow no more: what is
// booked then, others would have to wait for.
func (b *TokenBucket) feign(ctx context.Context, n int, maxWait time.Duration) waiterState {
	now := b.open()
	defer b.close()
	if _, shadow := b.limits(); !shadow { // Reconfigure may have had the lock since the caller looked
		return elsewhere
	}
	at, ok := b.behind(n, now)
	if !ok || at > lastUse(ctx, now, maxWait) || tooFar(at, now) {
		return refused
	}
	b.admitted++
	if b.epoch.Load().mode == metered {
		b.book(&Reservation{n: n, at: at}, now)
	}
	return served
}

func (b *TokenBucket) retryAfter() time.Duration {
	e := b.epoch.Load()
	if e.mode == admitAll {
		return 0
	}
	now := b.open()
	defer b.close()
	at, ok := b.behind(1, now)
	if !ok {
		return never
	}
	return min(until(at, now), never)
}

// InUse reports whether forgetting the bucket would lose something: somebody waits or holds a
// promise, or tokens taken have not come back yet.
func (b *TokenBucket) InUse() bool {
	e := b.epoch.Load()
	if e.mode != metered {
		return false
	}
	now := int64(time.Since(b.base)) - e.origin
	if word := e.word.Load(); word != held && uint64(now) <= uint64(e.horizon) {
		return word>>callBits > now*e.count
	}
	at := b.open()
	defer b.close()
	return b.head != nil || len(b.schedule.promises) > 0 || b.schedule.tat.ceil() > at
}

// Stats returns a snapshot.
func (b *TokenBucket) Stats() Stats {
	now := b.open()
	defer b.close()
	s := Stats{
		Admitted: b.admitted + int(b.passed.Load()),
		Rejected: int(b.rejected.Load()),
		Waiting:  b.len,
	}
	switch b.epoch.Load().mode {
	case admitAll:
		s.Available = math.MaxInt
	case metered:
		s.Available = b.schedule.available(b.schedule.tat, now)
		for _, p := range b.schedule.promises {
			s.Promised += p.n
		}
	}
	return s
}

// Describe tells the configuration in force.
func (b *TokenBucket) Describe() thole.Description {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.cfg.describe()
}

// String returns "ratelimit[name]", or "ratelimit" without a name.
func (b *TokenBucket) String() string { return label(b.limited.Load().Name) }
