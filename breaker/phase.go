package breaker

import (
	"math"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/window"
)

// settings is a configuration in force.
type settings struct {
	Config         // with the defaults filled in
	open, isolated *OpenError
}

func (b *Breaker) newSettings(cfg Config) *settings {
	return &settings{
		Config:   cfg.effective(),
		open:     &OpenError{Name: cfg.Name, reason: thole.ReasonOpen, breaker: b},
		isolated: &OpenError{Name: cfg.Name, reason: thole.ReasonIsolated, breaker: b},
	}
}

// What an admission has to look at before it lets a call pass.
const (
	gateShut   = 1 << iota // open or half-open
	gateRamp               // ramping up
	gateFlight             // the calls in flight are watched
)

// phase is one generation as calls see it without a lock: the machine's state, published.
// Nothing but its atomics and what they count ever changes. What is counted belongs to the
// generation: a call that settles late adds to what nobody reads any more, and not, however
// the goroutines are interleaved, to what counts now.
type phase struct {
	gen     uint64
	gate    atomic.Uint32
	state   State
	plain   bool // closed, and a call without a place in flight that returned nil needs no more than succeed
	ratios  bool // closed, and they are looked at
	set     *settings
	refusal error  // of a call; nil in shadow
	tally   *tally // while closed, else nil
	row     *row   // the tally's

	until               time.Duration // while open
	rampFrom, rampUntil time.Duration
	offered             atomic.Uint64 // calls that asked for admission during the ramp
}

// tally is what is counted while closed.
type tally struct {
	row *row

	// calm is the part of the window's time up to which a success can't open the circuit, so
	// that it need not look: a success only lowers the ratios, but for the call that makes
	// MinCalls full and the first call after something was forgotten. Written under the
	// breaker's lock.
	calm    atomic.Int64
	newest  int64 // the latest part of time looked at, alwaysCalm without parts; under the lock
	counted int   // the calls that were counted then: never more than there are, within that part

	spans *spans       // if the ratios look at a span of time
	last  *window.Last // if they look at the last calls; all but Pass under the lock
}

// row counts the failures in a row. It is alone in its cache line: all successes read it.
type row struct {
	atomic.Int64
	_ [56]byte
}

type spans struct{ calls, failures, slow window.Counter }

const alwaysCalm, neverCalm = math.MaxInt64, -1

func newTally(cfg *Config) *tally {
	t := &tally{row: new(row)}
	t.calm.Store(alwaysCalm)
	switch {
	case !cfg.judgesRatios():
	case cfg.WindowCalls > 0:
		t.last, t.newest = window.NewLast(cfg.WindowCalls), alwaysCalm
	default:
		t.spans = new(spans)
		t.spans.calls.InitStriped(cfg.Window)
		t.spans.failures.Init(cfg.Window)
		t.spans.slow.Init(cfg.Window)
	}
	return t
}

// carry returns a tally for cfg that goes on from t, which was kept for old: t itself if cfg
// counts alike, else a new one with what can be taken over. The lock is held.
func (t *tally) carry(now time.Duration, old, cfg *Config) *tally {
	t.calm.Store(neverCalm) // the thresholds may be other ones
	if cfg.judgesRatios() == old.judgesRatios() && cfg.Window == old.Window && cfg.WindowCalls == old.WindowCalls {
		return t
	}
	if t.last != nil && cfg.judgesRatios() && cfg.WindowCalls > 0 {
		t.last.Resize(cfg.WindowCalls)
		return t
	}
	to := newTally(cfg)
	to.calm.Store(neverCalm)
	to.row = t.row // not a copy: a call that still sees the old tally may be about to end it
	if to.spans != nil && t.spans != nil {
		to.spans.calls.CopyFrom(&t.spans.calls, now)
		to.spans.failures.CopyFrom(&t.spans.failures, now)
		to.spans.slow.CopyFrom(&t.spans.slow, now)
	}
	return to
}

// newPhase returns the machine's state as a phase. The lock is held.
func (b *Breaker) newPhase(set *settings, t *tally) *phase {
	p := &phase{
		gen:      b.m.gen,
		state:    b.m.state,
		set:      set,
		refusal:  set.open,
		tally:    t,
		until:    b.m.until,
		rampFrom: b.m.rampFrom, rampUntil: b.m.rampUntil,
	}
	var gate uint32
	if p.state != Closed {
		gate |= gateShut
	}
	switch {
	case set.Shadow:
		p.refusal = nil
	case b.m.isolated:
		p.refusal = set.isolated
	}
	if p.rampUntil > p.rampFrom {
		gate |= gateRamp
	}
	if p.state == Closed && set.SlowCall > 0 {
		gate |= gateFlight
	}
	p.gate.Store(gate)
	p.plain = p.state == Closed && set.Outcome == nil
	if t != nil {
		p.row = t.row
	}
	p.ratios = p.state == Closed && (t.spans != nil || t.last != nil)
	return p
}

// golden is 2^64 divided by the golden ratio: its multiples, modulo 2^64, fill the circle
// evenly at every stage (Weyl's sequence), so that of any run of calls the right share passes
// and none has a streak of bad luck.
const golden = 0x9E3779B97F4A7C15

// ramps decides whether the ramp lets the next call pass.
func (p *phase) ramps(now time.Duration) bool {
	if now >= p.rampUntil {
		p.gate.And(^uint32(gateRamp))
		return true
	}
	share := float64(now-p.rampFrom) / float64(p.rampUntil-p.rampFrom)
	return float64(p.offered.Add(1)*golden>>11)*0x1p-53 < share
}
