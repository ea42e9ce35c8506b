package models

import (
	"context"
	"errors"
	"fmt"
	"math/bits"
	"slices"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

// breakerModel is a breaker that counts all there ever was anew for each decision.
type breakerModel struct {
	cfg               breaker.Config // all fields set, but for the rules that are off
	state             breaker.State
	generation        int
	until             time.Duration
	failedRecoveries  int
	row, probesInARow int
	settled           []settledCall
	flying            []*flyingCall
	events            []string
}

type settledCall struct {
	at           time.Duration
	failed, slow bool
}

type flyingCall struct {
	done       func(error)
	start      time.Duration
	generation int
	probe      bool
	seenSlow   bool
}

func (m *breakerModel) to(s breaker.State) {
	if s != m.state {
		m.events = append(m.events, fmt.Sprint(m.state, " to ", s))
	}
	m.state, m.row, m.probesInARow, m.settled = s, 0, 0, nil
	m.generation++
}

// look lets the time that has passed have its effect: an open time ends, a call in flight
// turns out to be slow.
func (m *breakerModel) look(now time.Duration) {
	if m.state == breaker.Open && now >= m.until {
		m.to(breaker.HalfOpen)
	}
	fresh := false
	for _, c := range m.flying {
		if m.slowInFlight(c, now) && !c.seenSlow {
			c.seenSlow, fresh = true, true
		}
	}
	if fresh && m.state == breaker.Closed {
		m.judge(now)
	}
}

func (m *breakerModel) slowInFlight(c *flyingCall, now time.Duration) bool {
	return m.cfg.SlowCall > 0 && c.generation == m.generation && !c.probe && now-c.start > m.cfg.SlowCall
}

// fiftyYears is how long before it is made a policy's clock begins.
const fiftyYears = 50 * 365 * 24 * time.Hour

// partOf returns in which 32nd part of a window t lies. Where the parts begin is promised to
// nobody, and the one thing that the model has from the breaker, whose clock begins fifty years
// before it is made, and who multiplies by a reciprocal.
func partOf(t, window time.Duration) uint64 {
	if window == 0 {
		return 0
	}
	part, _ := bits.Mul64(uint64(fiftyYears+t), (1<<64-1)/uint64(window/32)+1)
	return part
}

// judge opens the circuit if a rule says so.
func (m *breakerModel) judge(now time.Duration) {
	part := func(t time.Duration) uint64 { return partOf(t, m.cfg.Window) }
	var calls []settledCall
	for _, c := range m.settled {
		if m.cfg.WindowCalls > 0 || part(c.at)+32 > part(now) {
			calls = append(calls, c)
		}
	}
	last := func(calls []settledCall) []settledCall {
		if m.cfg.WindowCalls == 0 {
			return calls
		}
		return calls[max(0, len(calls)-m.cfg.WindowCalls):]
	}
	withFlying := slices.Clone(calls)
	for _, c := range m.flying {
		if m.slowInFlight(c, now) {
			c.seenSlow = true
			withFlying = append(withFlying, settledCall{slow: true})
		}
	}
	reached := func(calls []settledCall, what func(settledCall) bool, threshold float64) bool {
		n := 0
		for _, c := range calls {
			if what(c) {
				n++
			}
		}
		return len(calls) >= m.cfg.MinCalls && float64(n)/float64(len(calls)) >= threshold
	}
	if m.cfg.ConsecutiveFailures > 0 && m.row >= m.cfg.ConsecutiveFailures ||
		m.cfg.FailureRatio > 0 && reached(last(calls), func(c settledCall) bool { return c.failed }, m.cfg.FailureRatio) ||
		m.cfg.SlowCall > 0 && reached(last(withFlying), func(c settledCall) bool { return c.slow }, m.cfg.SlowRatio) {
		m.failedRecoveries = 0
		m.to(breaker.Open)
	}
}

func (m *breakerModel) probesOut(now time.Duration) int {
	n := 0
	for _, c := range m.flying {
		if c.probe && c.generation == m.generation && now < c.start+m.cfg.ProbeTimeout {
			n++
		}
	}
	return n
}

func (m *breakerModel) admits(now time.Duration) bool {
	m.look(now)
	return m.state == breaker.Closed || m.state == breaker.HalfOpen && m.probesOut(now) < m.cfg.Probes
}

func (m *breakerModel) settle(now time.Duration, c *flyingCall, o thole.Outcome) {
	m.flying = slices.DeleteFunc(m.flying, func(f *flyingCall) bool { return f == c })
	slow := m.cfg.SlowCall > 0 && now-c.start > m.cfg.SlowCall
	if c.generation != m.generation || o == thole.Ignored || c.probe && now >= c.start+m.cfg.ProbeTimeout {
		return
	}
	switch {
	case !c.probe:
		m.row++
		if o == thole.Success {
			m.row = 0
		}
		m.settled = append(m.settled, settledCall{now, o == thole.Failure, slow})
		m.judge(now)
	case o == thole.Failure || slow:
		m.failedRecoveries++
		m.to(breaker.Open)
	default:
		if m.probesInARow++; m.probesInARow >= m.cfg.ProbeSuccesses {
			m.failedRecoveries = 0
			m.to(breaker.Closed)
		}
	}
}

// longestOpenTime returns the longest open time that is due, which jitter shortens by up to a tenth.
func (m *breakerModel) longestOpenTime() time.Duration {
	d := m.cfg.OpenFor
	for range m.failedRecoveries {
		d = min(2*d, m.cfg.MaxOpenFor)
	}
	return d
}

func drawBreakerConfig(rt *rapid.T) breaker.Config {
	cfg := breaker.Config{
		MinCalls:       rapid.IntRange(1, 8).Draw(rt, "MinCalls"),
		OpenFor:        millis(rt, 10, 300, "OpenFor"),
		Probes:         rapid.IntRange(1, 4).Draw(rt, "Probes"),
		ProbeSuccesses: rapid.IntRange(1, 5).Draw(rt, "ProbeSuccesses"),
		ProbeTimeout:   millis(rt, 5, 100, "ProbeTimeout"),
	}
	cfg.MaxOpenFor = cfg.OpenFor * time.Duration(rapid.IntRange(1, 10).Draw(rt, "MaxOpenFor"))
	rules := rapid.IntRange(1, 7).Draw(rt, "rules")
	if rules&1 != 0 {
		cfg.ConsecutiveFailures = rapid.IntRange(1, 6).Draw(rt, "ConsecutiveFailures")
	}
	if rules&2 != 0 {
		cfg.FailureRatio = rapid.SampledFrom([]float64{0.05, 0.3, 0.5, 2.0 / 3, 1}).Draw(rt, "FailureRatio")
	}
	if rules&4 != 0 {
		cfg.SlowCall = millis(rt, 1, 60, "SlowCall")
		cfg.SlowRatio = rapid.SampledFrom([]float64{0.2, 0.5, 1}).Draw(rt, "SlowRatio")
	}
	if rapid.Bool().Draw(rt, "by calls") {
		cfg.WindowCalls = cfg.MinCalls + rapid.IntRange(0, 20).Draw(rt, "WindowCalls")
	} else {
		cfg.Window = 32 * millis(rt, 1, 12, "Window/32")
	}
	return cfg
}

var errFailed = errors.New("failed")

func TestModel_breaker(t *testing.T) { inBubble(t, breakerLife) }

func breakerLife(rt *rapid.T) {
	cfg := drawBreakerConfig(rt)
	m := &breakerModel{cfg: cfg}
	var events []string
	cfg.OnStateChange = func(from, to breaker.State) { events = append(events, fmt.Sprint(from, " to ", to)) }
	b := breaker.New(cfg)
	start := time.Now()
	now := func() time.Duration { return time.Since(start) }
	cancelled, cancel := context.WithCancel(context.Background())
	cancel()

	// after compares the two when something may have opened the circuit, and takes the open
	// time, whose jitter the model cannot know, from the breaker.
	after := func(wasGeneration int) {
		if m.state == breaker.Open && m.generation != wasGeneration {
			s := b.Stats()
			if longest := m.longestOpenTime(); s.OpenFor > longest || s.OpenFor < longest-longest/10 {
				rt.Fatalf("open for %v, want up to 10 %% less than %v", s.OpenFor, longest)
			}
			m.until = now() + s.OpenFor
		}
	}
	step := func(do func()) func(*rapid.T) {
		return func(*rapid.T) {
			g := m.generation
			m.look(now())
			equal(rt, m.state, b.State(), "state")
			after(g)
			g = m.generation
			do()
			after(g)
		}
	}
	rt.Repeat(map[string]func(*rapid.T){
		"": func(*rapid.T) {
			if !slices.Equal(m.events, events) {
				rt.Fatalf("the model says %q, the breaker %q", m.events, events)
			}
		},
		"call": step(func() {
			ctx := context.Background()
			if sometimes(rt, 6, "cancelled") {
				ctx, cancel = context.WithCancel(ctx)
				defer cancel()
			}
			admitted := m.admits(now())
			done, err := b.Allow(ctx)
			equal(rt, admitted, err == nil, "admitted")
			if admitted {
				m.flying = append(m.flying, &flyingCall{done: done, start: now(), generation: m.generation, probe: m.state == breaker.HalfOpen})
				return
			}
			if left, ok := thole.RetryAfter(err); !errors.Is(err, breaker.ErrOpen) || !ok || left > m.cfg.MaxOpenFor {
				rt.Fatalf("a refusal says %v, retry after %v", err, left)
			}
		}),
		"settle": step(func() {
			if len(m.flying) == 0 {
				return
			}
			c := m.flying[rapid.IntRange(0, len(m.flying)-1).Draw(rt, "which")]
			o := rapid.SampledFrom([]thole.Outcome{thole.Success, thole.Success, thole.Failure, thole.Failure, thole.Ignored}).Draw(rt, "outcome")
			m.settle(now(), c, o)
			c.done([]error{nil, errFailed, thole.ErrRejected}[o])
			c.done(errFailed) // twice counts once
		}),
		"sleep":                func(*rapid.T) { time.Sleep(millis(rt, 1, 40, "for")) },
		"sleep long":           func(*rapid.T) { time.Sleep(millis(rt, 1, 700, "for")) },
		"sleep a probe's time": func(*rapid.T) { time.Sleep(m.cfg.ProbeTimeout) },
		"reset": step(func() {
			if sometimes(rt, 4, "really") {
				m.to(breaker.Closed)
				m.failedRecoveries = 0
				b.Reset()
			}
		}),
		"done ctx": step(func() {
			if done, err := b.Allow(cancelled); done != nil || err != context.Canceled {
				rt.Fatalf("a done context was answered by %v", err)
			}
		}),
		"probes": step(func() {
			if m.state == breaker.HalfOpen {
				equal(rt, m.probesOut(now()), b.Stats().ProbesOut, "probes out")
				equal(rt, m.probesInARow, b.Stats().ProbeSuccesses, "probes in a row")
			}
		}),
	})
}
