package breaker

import (
	"context"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/window"
)

// Leave implements [thole.Gate].
func (b *Breaker) Leave(ctx context.Context, t thole.Ticket, err error, clock *thole.Clock) {
	if p := b.phase.Load(); err != nil || p.gen != t.Stamp || !p.plain {
		b.leave(ctx, t, err, clock)
	} else if p.ratios {
		b.succeed(p, clock, 0, false)
	} else {
		p.row.end()
	}
}

// succeed counts a success that was not slow, in a phase that looks at ratios. It takes the lock only
// if the success could open the circuit: see calm. Of a call with a place in flight, now is when it ended.
func (b *Breaker) succeed(p *phase, clock *thole.Clock, now time.Duration, placed bool) {
	p.row.end()
	if p.tally.last != nil {
		b.passLast(p, now, placed)
		return
	}
	if !placed {
		now = clock.Since(b.base)
	}
	calls := &p.tally.spans.calls
	part := calls.Part(now)
	if part > p.tally.calm.Load() {
		b.settleAlone(p.gen, now, false, false)
		return
	}
	if !calls.TryAdd(part) {
		calls.Add(part)
	}
	if part > p.tally.calm.Load() || placed && b.flights.Load().due(now, p.set.SlowCall) {
		b.judge(p.gen, now, false)
	}
}

func (b *Breaker) leave(ctx context.Context, t thole.Ticket, err error, clock *thole.Clock) {
	judge := b.phase.Load().set.Outcome
	if err == nil && judge == nil {
		b.settle(t, thole.Success, clock)
		return
	}
	if t.Stamp == 0 {
		return
	}
	outcome := thole.Ignored // if what follows panics
	defer func() { b.settle(t, outcome, clock) }()
	switch {
	case err == thole.ErrAborted: // this very value, not one that wraps it
		outcome = thole.Failure
	case judge != nil:
		outcome = judge(ctx, err)
	default:
		outcome = thole.OutcomeOf(ctx, err)
	}
	if outcome == thole.Failure {
		b.targets.note(thole.TargetFrom(ctx))
	}
}

// settle counts a call's outcome.
func (b *Breaker) settle(t thole.Ticket, o thole.Outcome, clock *thole.Clock) {
	gen, place := t.Stamp&genMask, t.Stamp>>genBits
	p := b.phase.Load()
	if p.gen != gen {
		if place != 0 {
			b.flights.Load().leave(place, time.Duration(t.Start))
		}
		return
	}
	if p.state != Closed {
		b.settleProbe(gen, t.Start, o)
		return
	}
	var now time.Duration
	if place != 0 || p.tally.spans != nil && o == thole.Failure {
		now = clock.Since(b.base)
	}
	if place != 0 {
		start := time.Duration(t.Start)
		if slow := p.set.SlowCall; slow > 0 && now-start > slow {
			b.settleSlow(t, now, o)
			return
		}
		f := b.flights.Load()
		f.leave(place, start)
		if slow := p.set.SlowCall; slow > 0 && f.looked.Load()-t.Start > int64(slow) {
			b.lookAround(now) // a look since we read the clock may have counted this call as slow
		}
	}
	switch o {
	case thole.Success, thole.Failure:
	default:
		return
	}
	full := p.row.note(o == thole.Failure) >= p.set.rowLimit()
	switch {
	case p.ratios && o == thole.Success:
		b.succeed(p, clock, now, place != 0)
	case p.ratios:
		b.settleAlone(gen, now, true, full)
	case full:
		b.judge(gen, b.now(), true)
	}
}

// rowLimit returns how long a row of failures must be to open the circuit.
func (s *settings) rowLimit() int64 {
	if s.ConsecutiveFailures == 0 {
		return 1 << 62
	}
	return int64(s.ConsecutiveFailures)
}

// end ends the row. It writes nothing if there is none.
func (r *row) end() {
	if r.Load() != 0 {
		r.Store(0)
	}
}

// note lengthens or ends the row, and returns its length.
func (r *row) note(failed bool) int64 {
	if failed {
		return r.Add(1)
	}
	r.end()
	return 0
}

// add counts a call where the ratios are looked at. The lock is held.
func (t *tally) add(now time.Duration, failed, slow bool) {
	switch {
	case t.spans != nil:
		t.spans.add(t.spans.calls.Part(now), failed, slow)
	case t.last != nil:
		t.last.Add(failed, slow)
	}
}

func (s *spans) add(part int64, failed, slow bool) {
	s.calls.Add(part)
	if failed {
		s.failures.Add(part)
	}
	if slow {
		s.slow.Add(part)
	}
}

// settleSlow counts a call that was slow. It takes it out of the calls in flight and puts it
// among the settled in one step, so that a ratio sees it exactly once.
func (b *Breaker) settleSlow(t thole.Ticket, now time.Duration, o thole.Outcome) {
	gen, place, start := t.Stamp&genMask, t.Stamp>>genBits, time.Duration(t.Start)
	b.mu.Lock()
	p, f := b.phase.Load(), b.flights.Load()
	if p.gen != gen {
		f.leave(place, start)
		b.unlock()
		return
	}
	f.leaveSlow(place, start, p.set.SlowCall)
	if o == thole.Success || o == thole.Failure {
		failed := o == thole.Failure
		full := p.row.note(failed) >= p.set.rowLimit()
		p.tally.add(now, failed, true)
		b.judgeLocked(p, now, full)
	}
	b.unlock()
}

// passLast is succeed where the ratios look at the last calls. (With the lock for every call, one
// cost 41 ns instead of 13, and 127 instead of 8 with 64 goroutines on two processors.)
func (b *Breaker) passLast(p *phase, now time.Duration, placed bool) {
	if p.tally.calm.Load() == neverCalm {
		b.settleAlone(p.gen, now, false, false)
		return
	}
	p.tally.last.Pass()
	if p.tally.calm.Load() == neverCalm || placed && b.flights.Load().due(now, p.set.SlowCall) {
		b.judge(p.gen, now, false)
	}
}

// settleAlone counts a call that was not slow and that could open the circuit, and judges. Nothing
// that could comes in between: of the successes that end together, the one that makes MinCalls full
// would be weighed with those after it, which lower the ratios. (Only one that was about to be counted
// without the lock when a failure made that wrong comes in between still: a matter of nanoseconds.)
func (b *Breaker) settleAlone(gen uint64, now time.Duration, failed, full bool) {
	b.mu.Lock()
	if p := b.phase.Load(); p.gen == gen {
		p.tally.add(now, failed, false)
		b.judgeLocked(p, now, full)
	}
	b.unlock()
}

func (b *Breaker) settleProbe(gen uint64, serial int64, o thole.Outcome) {
	now := b.now()
	b.mu.Lock()
	b.m.tick(now)
	if b.m.gen == gen {
		b.m.settleProbe(now, serial, o)
	}
	b.unlock()
}

// judge opens the circuit, unless it is of another generation by now, if a rule is met; full
// says that the row of failures was.
func (b *Breaker) judge(gen uint64, now time.Duration, full bool) {
	b.mu.Lock()
	if p := b.phase.Load(); p.gen == gen {
		b.judgeLocked(p, now, full)
	}
	b.unlock()
}

// lookAround opens the circuit if too many calls in flight are slow by now.
func (b *Breaker) lookAround(now time.Duration) {
	b.mu.Lock()
	if p := b.phase.Load(); p.state == Closed && p.set.SlowCall > 0 {
		f := b.flights.Load()
		before := f.slow
		f.look(now, p.gen, p.set.SlowCall)
		if f.slow > before {
			b.judgeLocked(p, now, false)
		}
	}
	b.unlock()
}

// judgeLocked is judge for who holds the lock. now may be 0 where nothing is timed.
func (b *Breaker) judgeLocked(p *phase, now time.Duration, full bool) {
	t, cfg := p.tally, &p.set.Config
	t.calm.Store(neverCalm) // whoever adds while we sum looks for himself
	if f := b.flights.Load(); cfg.SlowCall > 0 && f.due(now, cfg.SlowCall) {
		f.look(now, p.gen, cfg.SlowCall)
	}
	w := b.weigh(p, now)
	switch {
	case full || w.trips(cfg):
		if now == 0 {
			now = b.now()
		}
		b.m.trip(now)
	case w.failures+w.slow == 0:
		t.calm.Store(alwaysCalm)
	case w.calls >= cfg.MinCalls:
		t.calm.Store(t.newest)
	}
}

// weights is what the ratios are made of.
type weights struct {
	calls, failures int // settled
	slow            int // settled or in flight
	slowOf          int // the calls that slow is a part of
}

// of sets the calls that the failures and slow calls are among.
func (w *weights) of(calls, flying int) { w.calls, w.slowOf = calls, calls+flying }

func (w weights) trips(cfg *Config) bool {
	return cfg.FailureRatio > 0 && w.calls >= cfg.MinCalls && ratio(w.failures, w.calls) >= cfg.FailureRatio ||
		cfg.SlowCall > 0 && w.slowOf >= cfg.MinCalls && ratio(w.slow, w.slowOf) >= cfg.SlowRatio
}

// ratio is exact: a quotient of whole numbers is rounded like the literal it is compared with.
func ratio(part, whole int) float64 {
	if whole == 0 {
		return 0
	}
	return float64(part) / float64(whole)
}

// weigh counts up what p has tallied. It doesn't look for slow calls in flight: who finds more of
// them has to judge. The lock is held.
func (b *Breaker) weigh(p *phase, now time.Duration) (w weights) {
	t, cfg := p.tally, &p.set.Config
	flying := 0
	if cfg.SlowCall > 0 {
		flying = b.flights.Load().slow
	}
	switch {
	case t.spans != nil:
		part := t.spans.calls.Part(now)
		if part > t.newest {
			t.newest, t.counted = part, 0
		}
		w.failures = t.spans.failures.Sum(t.newest)
		if cfg.SlowCall > 0 {
			w.slow = t.spans.slow.Sum(t.newest) + flying
		}
		// More calls only lower the ratios. So there is no need to count them anew if those that
		// were counted last are enough to keep the circuit closed.
		if w.of(t.counted, flying); w.calls < cfg.MinCalls || w.trips(cfg) {
			t.counted = t.spans.calls.Sum(t.newest)
			w.of(t.counted, flying)
		}
	case t.last != nil:
		w = weighLast(t.last, flying)
		if cfg.SlowCall == 0 {
			w.slow = 0 // there may be marks from when it was not
		}
	}
	return w
}

// weighLast weighs the last calls. Those in flight are the newest, and push out as many of the oldest.
func weighLast(last *window.Last, flying int) (w weights) {
	flying = min(flying, last.Size())
	w.calls, w.failures = last.Calls()
	w.slow = last.Slow(last.Size()-flying) + flying
	w.slowOf = min(w.calls+flying, last.Size())
	return w
}
