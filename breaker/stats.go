package breaker

import (
	"strconv"
	"time"

	"github.com/thole-go/thole"
)

// Stats is a snapshot of a [Breaker]. Refused calls are not in it: a refusal writes nothing.
// Whoever makes the calls sees each as an error that matches [ErrOpen], and may count those.
type Stats struct {
	State    State
	Isolated bool // open by Isolate

	// What is counted while closed; all 0 otherwise. Calls, Failures and Slow are those in the
	// window, and are counted only where a ratio rule is on. Ignored calls are in none.
	Calls               int
	Failures            int
	Slow                int     // settled, and in flight
	FailureRatio        float64 // 0 if there were no calls
	SlowRatio           float64 // of the calls settled and the slow ones in flight
	ConsecutiveFailures int

	AdmittedShare  float64       // the part of calls admitted: 1 closed, 0 open or half-open, between in a ramp
	OpenFor        time.Duration // how long the circuit is open, or was the last time; 0 = never was, negative = until Reset
	OpenLeft       time.Duration // what is left of that; negative = until Reset
	ProbesOut      int           // probes in flight whose place has not expired
	ProbeSuccesses int           // probes in a row that have succeeded
	Opened         int           // times the circuit opened by itself since New
	Shadowed       int           // calls since New that were let pass only because of Shadow
}

// Stats returns a snapshot. Like [Breaker.State], it brings about what is due.
func (b *Breaker) Stats() Stats {
	b.look()
	now := b.now()
	b.mu.Lock()
	defer b.unlock()
	b.m.tick(now)
	s := Stats{
		State:          b.m.state,
		Isolated:       b.m.isolated,
		AdmittedShare:  b.m.share(now),
		OpenFor:        b.m.openFor,
		ProbesOut:      len(b.m.leases),
		ProbeSuccesses: b.m.streak,
		Opened:         b.m.opened,
		Shadowed:       int(b.shadowed.Load()),
	}
	if s.OpenFor == forever {
		s.OpenFor = -1
	}
	switch {
	case s.State == Open && b.m.until == forever:
		s.OpenLeft = -1
	case s.State == Open:
		s.OpenLeft = b.m.until - now
	}
	if p := b.phase.Load(); p.gen == b.m.gen && p.tally != nil {
		p.tally.counted = 0 // so that all are counted, not only as many as a decision needs
		w := b.weigh(p, now)
		s.Calls, s.Failures, s.Slow = w.calls, w.failures, w.slow
		s.FailureRatio, s.SlowRatio = ratio(w.failures, w.calls), ratio(w.slow, w.slowOf)
		s.ConsecutiveFailures = int(p.tally.row.Load())
	}
	return s
}

// String returns "breaker", with the name in brackets if there is one: "breaker[payments]".
func (b *Breaker) String() string { return b.Describe().String() }

// Describe tells the configuration in force, for [thole.Explain] and [thole.Lint].
func (b *Breaker) Describe() thole.Description {
	cfg := &b.phase.Load().set.Config
	d := thole.Description{Kind: "breaker", Name: cfg.Name, Blocking: true, Targets: b.targets.seen()}
	add := func(key, value string) { d.Settings = append(d.Settings, thole.Setting{Key: key, Value: value}) }
	if cfg.ConsecutiveFailures > 0 {
		add("ConsecutiveFailures", strconv.Itoa(cfg.ConsecutiveFailures))
	}
	if cfg.FailureRatio > 0 {
		add("FailureRatio", formatRatio(cfg.FailureRatio))
	}
	if cfg.judgesRatios() {
		add("MinCalls", strconv.Itoa(cfg.MinCalls))
		if cfg.WindowCalls > 0 {
			add("WindowCalls", strconv.Itoa(cfg.WindowCalls))
		} else {
			d.Window = cfg.Window
			add("Window", cfg.Window.String())
		}
	}
	if cfg.SlowCall > 0 {
		add("SlowCall", cfg.SlowCall.String())
		add("SlowRatio", formatRatio(cfg.SlowRatio))
	}
	add("OpenFor", cfg.OpenFor.String())
	add("MaxOpenFor", cfg.MaxOpenFor.String())
	add("Probes", strconv.Itoa(cfg.Probes))
	add("ProbeSuccesses", strconv.Itoa(cfg.ProbeSuccesses))
	add("ProbeTimeout", cfg.ProbeTimeout.String())
	if cfg.RampUp > 0 {
		add("RampUp", cfg.RampUp.String())
	}
	if cfg.Shadow {
		add("Shadow", "true")
	}
	return d
}

func formatRatio(r float64) string { return strconv.FormatFloat(r, 'g', -1, 64) }
