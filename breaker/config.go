package breaker

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/internal/window"
)

const (
	maxProbes      = 10_000
	maxWindowCalls = 1 << 20
)

// Config says when a [Breaker] opens and how it recovers. The zero Config is valid: half of
// at least 20 calls in 10 s failing opens the circuit for 5 s. In each field zero means the
// default, and what is out of range is refused by [Config.Validate] and [New].
//
// A rule to open is on when its field is set: ConsecutiveFailures, FailureRatio, SlowCall.
// They stand side by side, the first that is met opens the circuit. With none set,
// FailureRatio is 0.5.
type Config struct {
	_ [0]func() // only keyed literals, no comparison

	// Name names the breaker in errors and descriptions. It may be empty.
	Name string

	// ConsecutiveFailures opens the circuit after so many failures in a row. Ignored calls
	// neither lengthen nor break the row. 0 = the rule is off; at most 2^31-1.
	ConsecutiveFailures int

	// FailureRatio opens the circuit when failures / calls is at least this much, exactly,
	// of the calls counted (see Window, WindowCalls and MinCalls). In (0, 1]; 0 = the rule
	// is off, or 0.5 if no rule is set.
	FailureRatio float64

	// MinCalls is how many calls must have been counted before a ratio is believed. Ignored
	// calls don't count. 0 = 20, or WindowCalls if that is less; at most 2^31-1, and not
	// more than WindowCalls where that is set.
	MinCalls int

	// Window is how far back the ratios look. It is counted in 32 parts, so a call
	// is remembered for 97 to 100 % of it and never longer. 0 = 10 s; else 1 ms to 24 h.
	Window time.Duration

	// WindowCalls makes the ratios look at the last so many calls, exactly, however old they
	// are, in place of Window. 0 = off; at most 2^20. Not together with Window.
	WindowCalls int

	// SlowCall is how long a call may take before it counts as slow, whatever its result.
	// Calls still in flight count as soon as they have taken longer. A slow probe counts as
	// a failed one. 0 = the rule is off; at most 876,000 h, as is every duration here.
	SlowCall time.Duration

	// SlowRatio opens the circuit when slow calls / calls is at least this much. In (0, 1];
	// 0 = 1 when SlowCall is set, and must be 0 when it is not.
	SlowRatio float64

	// OpenFor is how long the circuit stays open at first. Each time it is shortened by up to
	// 10 % at random, so that many breakers don't probe in step. 0 = 5 s, or MaxOpenFor if
	// that is less.
	OpenFor time.Duration

	// MaxOpenFor bounds the open time, which doubles with each failed recovery. Set it to
	// OpenFor for an open time that doesn't grow. 0 = 60 s, or OpenFor if that is more; else
	// not less than OpenFor.
	MaxOpenFor time.Duration

	// Probes is how many calls are let through at a time while half-open. 0 = 1; at most
	// 10,000.
	Probes int

	// ProbeSuccesses is how many probes in a row must succeed to close the circuit. 0 =
	// Probes; at most 2^31-1.
	ProbeSuccesses int

	// ProbeTimeout is how long a probe may keep its place. A probe that hasn't ended by then
	// is given up: its place goes to another call and its result changes nothing. It should
	// be longer than the calls' own time limit. 0 = OpenFor.
	ProbeTimeout time.Duration

	// RampUp is the time after closing over which the share of calls admitted rises from 0
	// to 1 in a straight line. If the circuit opens again within it, that recovery has failed
	// and the open time doubles. 0 = all calls are admitted at once.
	RampUp time.Duration

	// Outcome says what a call's result means. It is called for each call that was let through,
	// even if that counts for nothing by now, with the ctx given to the breaker, outside every
	// lock, concurrently. It isn't asked of a call that panicked, which is a failure, nor of one
	// that only Shadow let through. If it panics itself, the call is ignored.
	// nil = [thole.OutcomeOf].
	Outcome func(context.Context, error) thole.Outcome

	// OnStateChange is told of each change of state, once, in order, one at a time. It is
	// called outside every lock, by whichever call has just used the breaker: often, but not
	// always, the one that brought the change about. It may call the breaker; changes that it
	// causes are told after it has returned. nil = nobody is told.
	OnStateChange func(from, to State)

	// Shadow makes the breaker decide, count and tell of changes as ever, but let each call
	// through. What calls do that it would have refused changes nothing.
	Shadow bool
}

// Validate returns an error that names each field which New would refuse, its value and
// what is allowed; nil if there is none.
func (c Config) Validate() error {
	f := check.Of("breaker")
	f.Count("ConsecutiveFailures", c.ConsecutiveFailures, math.MaxInt32, "off")
	f.Ratio("FailureRatio", c.FailureRatio, "off, or 0.5 if no rule is set")
	f.Count("MinCalls", c.MinCalls, math.MaxInt32, "20")
	f.Need(c.Window == 0 || c.Window >= window.MinSpan && c.Window <= window.MaxSpan, "Window", c.Window,
		fmt.Sprintf("0 (10 s) or %v to %v", window.MinSpan, window.MaxSpan))
	f.Count("WindowCalls", c.WindowCalls, maxWindowCalls, "off")
	f.Need(c.WindowCalls == 0 || c.Window == 0, "WindowCalls", c.WindowCalls, fmt.Sprintf("0 when Window is set (%v)", c.Window))
	f.Need(c.WindowCalls <= 0 || c.MinCalls <= c.WindowCalls, "MinCalls", c.MinCalls,
		fmt.Sprintf("at most WindowCalls (%d)", c.WindowCalls))
	f.Duration("SlowCall", c.SlowCall, "off")
	f.Ratio("SlowRatio", c.SlowRatio, "1 when SlowCall is set")
	f.Need(c.SlowRatio == 0 || c.SlowCall != 0, "SlowRatio", c.SlowRatio, "0 when SlowCall is not set")
	f.Duration("OpenFor", c.OpenFor, "5 s")
	f.Duration("MaxOpenFor", c.MaxOpenFor, "60 s")
	f.Need(c.MaxOpenFor <= 0 || c.MaxOpenFor >= c.OpenFor, "MaxOpenFor", c.MaxOpenFor, fmt.Sprintf("at least OpenFor (%v)", c.OpenFor))
	f.Count("Probes", c.Probes, maxProbes, "1")
	f.Count("ProbeSuccesses", c.ProbeSuccesses, math.MaxInt32, "Probes")
	f.Duration("ProbeTimeout", c.ProbeTimeout, "OpenFor")
	f.Duration("RampUp", c.RampUp, "off")
	return f.Err()
}

// effective returns c with the defaults filled in.
func (c Config) effective() Config {
	if c.ConsecutiveFailures == 0 && c.FailureRatio == 0 && c.SlowCall == 0 {
		c.FailureRatio = 0.5
	}
	if c.SlowCall > 0 {
		fill(&c.SlowRatio, 1)
	}
	if c.WindowCalls > 0 {
		fill(&c.MinCalls, min(20, c.WindowCalls))
	} else {
		fill(&c.MinCalls, 20)
		fill(&c.Window, 10*time.Second)
	}
	openFor := 5 * time.Second
	if c.MaxOpenFor > 0 {
		openFor = min(openFor, c.MaxOpenFor)
	}
	fill(&c.OpenFor, openFor)
	fill(&c.MaxOpenFor, max(60*time.Second, c.OpenFor))
	fill(&c.Probes, 1)
	fill(&c.ProbeSuccesses, c.Probes)
	fill(&c.ProbeTimeout, c.OpenFor)
	return c
}

func fill[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

// judgesRatios reports whether a rule is on that needs the recent calls counted.
func (c *Config) judgesRatios() bool { return c.FailureRatio > 0 || c.SlowCall > 0 }
