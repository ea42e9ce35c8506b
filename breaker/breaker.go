package breaker

import (
	"context"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/clock"
)

// Breaker is a circuit breaker. Make one with [New] for each destination, or let
// [thole.PerTarget] do so. All methods are safe for concurrent use.
type Breaker struct {
	base  time.Time
	phase atomic.Pointer[phase]

	flights  atomic.Pointer[flights] // nil until the slow-call rule is first on
	shadowed atomic.Int64
	targets  targets

	mu      sync.Mutex // guards the machine, and the change of phase that goes with its changes
	m       machine
	telling bool // somebody is calling the hook
}

var _ thole.Gate = (*Breaker)(nil)

// New returns a closed Breaker. It panics if [Config.Validate] refuses the config.
func New(cfg Config) *Breaker {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	b := &Breaker{base: clock.Base()}
	set := b.newSettings(cfg)
	b.m = machine{cfg: &set.Config, jitter: rand.Float64, gen: 1}
	b.watch(set)
	b.phase.Store(b.newPhase(set, newTally(&set.Config)))
	return b
}

// now returns the time since base, at half the cost of time.Now.
func (b *Breaker) now() time.Duration { return time.Since(b.base) }

// watch makes a place for the calls in flight if set needs one.
func (b *Breaker) watch(set *settings) {
	if set.SlowCall > 0 && b.flights.Load() == nil {
		b.flights.Store(newFlights())
	}
}

// Do runs fn if the breaker lets it pass, and counts its outcome. Otherwise it returns an
// error that matches [ErrOpen]; or, if ctx was done already, exactly ctx.Err(), and has not
// taken a probe's place. The error of fn is returned as it is. A panic or runtime.Goexit in
// fn counts as a failure and goes on up.
func (b *Breaker) Do(ctx context.Context, fn func(context.Context) error) error {
	// This is thole.Pass with Enter and Leave written out, for what they cost as calls.
	if err := ctx.Err(); err != nil {
		return err
	}
	p := b.phase.Load()
	t := thole.Ticket{Stamp: p.gen}
	if p.gate.Load() != 0 {
		if p.state == Open && p.refusal != nil && (p.until == forever || b.now() < p.until) {
			return p.refusal
		}
		var err error
		if t, err = b.enter(p, nil); err != nil {
			return err
		}
	}
	returned := false
	defer func() {
		if !returned {
			b.leave(ctx, t, thole.ErrAborted, nil)
		}
	}()
	err := fn(ctx)
	returned = true
	if p := b.phase.Load(); err != nil || p.gen != t.Stamp || !p.plain {
		b.leave(ctx, t, err, nil)
	} else if p.ratios {
		b.succeed(p, nil, 0, false)
	} else {
		p.row.end()
	}
	return err
}

// Allow is Do in two steps, for a call that is not a function. If err is nil the call may
// begin, and done must be called with its error when it has ended; calling it again does
// nothing. Otherwise done is nil, and err is what Do would have returned. It allocates the
// function done; Do allocates nothing.
//
// If done is never called: a probe's place is free again after ProbeTimeout; where SlowCall is
// set, the call counts as one in flight until the circuit next changes its state; else nothing
// is held. done keeps ctx, to tell whether the caller cancelled the call.
func (b *Breaker) Allow(ctx context.Context) (done func(error), err error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	t, err := b.Enter(ctx, nil)
	if err != nil {
		return nil, err
	}
	var called atomic.Bool
	return func(err error) {
		if called.CompareAndSwap(false, true) {
			b.Leave(ctx, t, err, nil)
		}
	}, nil
}

// A ticket's stamp is the generation that let the call pass, or 0 if its outcome counts for
// nothing, with its place among the calls in flight, if any, in the upper bits. Its start is
// when the call began, where it has a place; and a probe's serial.
const (
	genBits = 40
	genMask = 1<<genBits - 1
)

// Enter implements [thole.Gate].
func (b *Breaker) Enter(_ context.Context, clock *thole.Clock) (thole.Ticket, error) {
	p := b.phase.Load()
	if p.gate.Load() == 0 {
		return thole.Ticket{Stamp: p.gen}, nil
	}
	return b.enter(p, clock)
}

// enter decides where p's gate asks for more than a glance.
func (b *Breaker) enter(p *phase, clock *thole.Clock) (thole.Ticket, error) {
	if p.state == Open && p.until == forever {
		return b.refuse(p)
	}
	now := clock.Since(b.base)
	if p.state == Open && now < p.until {
		return b.refuse(p)
	}
	if p.state != Closed {
		return b.enterProbe(now, clock)
	}
	gate := p.gate.Load()
	if gate&gateFlight != 0 && b.flights.Load().due(now, p.set.SlowCall) {
		b.lookAround(now)
		if q := b.phase.Load(); q.gen != p.gen {
			clock.Forget() // the hook may have taken long
			return b.enter(q, clock)
		}
	}
	if gate&gateRamp != 0 && !p.ramps(now) {
		return b.refuse(p)
	}
	t := thole.Ticket{Stamp: p.gen}
	if gate&gateFlight != 0 {
		t.Stamp |= b.flights.Load().enter(now, p.gen) << genBits
		t.Start = int64(now)
	}
	return t, nil
}

// enterProbe decides where the circuit was half-open, or open for long enough, a moment ago.
func (b *Breaker) enterProbe(now time.Duration, clock *thole.Clock) (thole.Ticket, error) {
	b.mu.Lock()
	b.m.tick(now)
	state := b.m.state
	t, ok := thole.Ticket{Stamp: b.m.gen}, false
	if state == HalfOpen {
		t.Start, ok = b.m.probe(now)
	}
	told := false
	defer func() {
		if ok && !told { // the hook panicked, and the probe won't run
			b.settleProbe(t.Stamp, t.Start, thole.Ignored)
		}
	}()
	b.unlock()
	told = true
	clock.Forget() // the hook may have taken long
	switch p := b.phase.Load(); {
	case ok:
		return t, nil
	case state == HalfOpen:
		return b.refuse(p)
	default:
		return b.enter(p, clock) // somebody else has brought it on meanwhile
	}
}

// refuse returns the error of a refusal. It writes nothing, an atomic addition would cost half
// as much again as all the rest but the clock. In shadow it counts, and lets the call pass.
func (b *Breaker) refuse(p *phase) (thole.Ticket, error) {
	if p.refusal == nil {
		b.shadowed.Add(1)
		return thole.Ticket{}, nil
	}
	return thole.Ticket{}, p.refusal
}

// State returns what the breaker does with calls now. It is HalfOpen as soon as the open time
// is over, and Open as soon as too many calls in flight are slow: to look is enough, no call
// need come, and OnStateChange is told of what a look finds.
func (b *Breaker) State() State {
	b.look()
	return b.phase.Load().state
}

// Isolate opens the circuit for d, whatever happens, and then lets probes through; for d ≤ 0
// it stays open until [Breaker.Reset]. A further call replaces d.
func (b *Breaker) Isolate(d time.Duration) {
	now := b.now()
	b.mu.Lock()
	b.m.isolate(now, d)
	b.unlock()
}

// Reset closes the circuit, with nothing counted, no ramp, and the open time back to OpenFor.
// What calls do that are in flight now changes nothing.
func (b *Breaker) Reset() {
	now := b.now()
	b.mu.Lock()
	b.m.reset(now)
	b.unlock()
}

// look lets what time alone brings about happen.
func (b *Breaker) look() {
	p := b.phase.Load()
	switch p.state {
	case Closed:
		if p.gate.Load()&gateFlight == 0 {
			return
		}
		if now := b.now(); b.flights.Load().overdue(now, p.set.SlowCall) {
			b.lookAround(now)
		}
	case Open:
		if p.until == forever {
			return
		}
		if now := b.now(); now >= p.until {
			b.mu.Lock()
			b.m.tick(now)
			b.unlock()
		}
	}
}

// retryAfter is that of the errors.
func (b *Breaker) retryAfter() time.Duration {
	now := b.now()
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.m.retryAfter(now)
}

// InUse reports whether forgetting the breaker would lose something: it is open and its open
// time is not over, or isolated, or has a probe out.
func (b *Breaker) InUse() bool {
	switch p := b.phase.Load(); p.state {
	case Open:
		return p.until == forever || b.now() < p.until
	case HalfOpen:
		now := b.now()
		b.mu.Lock()
		defer b.mu.Unlock()
		_, probes := b.m.peek(now)
		return probes > 0
	default:
		return false
	}
}
