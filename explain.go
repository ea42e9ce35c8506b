package thole

import (
	"fmt"
	"math"
	"strings"
	"time"
)

// Explain tells in plain text what p does to a call: its layers from the outermost in, each
// with the configuration in force, and what a call may cost at the worst: how long, if fn
// returns when its context ends, and how many runs of fn. Waits that the callee asks for
// (RetryAfter) are not counted. It is for logs at start-up and for people. A keyed policy is
// explained by the policy of some key, once there is one. The text is not stable.
func Explain(p Policy) string {
	var s strings.Builder
	layers := flatten(p, 0)
	fmt.Fprintln(&s, explainName(p))
	for i, l := range layers {
		fmt.Fprintf(&s, "%2d. %s%s", i+1, strings.Repeat("  ", l.depth), l.String())
		for j, set := range l.Settings {
			sep := ", "
			if j == 0 {
				sep = ": "
			}
			fmt.Fprintf(&s, "%s%s %s", sep, set.Key, set.Value)
		}
		s.WriteByte('\n')
	}
	w := worstCase(layers)
	fmt.Fprintf(&s, "At worst a call takes %s and runs fn %s.\n", w.timeString(), w.runsString())
	return s.String()
}

func explainName(p Policy) string {
	if p == nil {
		return "none"
	}
	return nameOf(p)
}

// layer is one policy in the order of composition.
type layer struct {
	Description
	depth int // how many keyed policies it is inside of
}

// flatten lists the layers of p, outermost first: chains are opened, keyed policies are
// followed by those they hold.
func flatten(p Policy, depth int) []layer {
	if p == nil {
		return nil
	}
	d := describe(p)
	var layers []layer
	if _, ok := p.(*chain); !ok {
		layers = append(layers, layer{d, depth})
		if d.Keyed {
			depth++
		}
	}
	for _, inner := range d.Inner {
		layers = append(layers, flatten(inner, depth)...)
	}
	return layers
}

// worst is an upper bound for one call.
type worst struct {
	time time.Duration // unbounded: the longest there is
	runs int           // negative: no bound
}

const unbounded = time.Duration(math.MaxInt64)

// worstCase computes the bound for what the layers guard, from the inside out: fn alone may
// take for ever; a limit caps it; a policy that runs it again multiplies it.
func worstCase(layers []layer) worst {
	w := worst{time: unbounded, runs: 1}
	for i := len(layers) - 1; i >= 0; i-- {
		l := layers[i]
		switch {
		case l.Runs < 0 && l.Pauses == 0:
			w.time, w.runs = unbounded, -1
		case l.Runs < 0: // the last run begins within the pauses' time
			w.time, w.runs = plus(w.time, l.Pauses), -1
		case l.Kind == kindHedge && l.Pauses > 0: // side by side
			w.time = plus(w.time, l.Pauses)
			w.runs = timesRuns(w.runs, l.Runs)
		default: // one after the other, as with a hedge that starts as late as it can
			all := plus(times(w.time, max(l.Runs, 1)), l.Pauses)
			if elapsed := l.maxElapsed(); elapsed > 0 { // within which the last run begins
				all = min(all, plus(w.time, elapsed))
			}
			w.time = all
			w.runs = timesRuns(w.runs, l.Runs)
		}
		if l.MaxWait < 0 {
			w.time = unbounded
		} else {
			w.time = plus(w.time, l.MaxWait)
		}
		if l.Limit > 0 {
			w.time = min(w.time, l.Limit)
		}
	}
	return w
}

func timesRuns(inner, runs int) int {
	runs = max(runs, 1)
	if inner < 0 || inner > math.MaxInt32/runs {
		return -1
	}
	return inner * runs
}

func times(d time.Duration, n int) time.Duration {
	if n > 0 && d > unbounded/time.Duration(n) {
		return unbounded
	}
	return d * time.Duration(n)
}

func plus(a, b time.Duration) time.Duration {
	if a > unbounded-b {
		return unbounded
	}
	return a + b
}

func (w worst) timeString() string {
	if w.time == unbounded {
		return "as long as its context allows"
	}
	return w.time.String()
}

func (w worst) runsString() string {
	switch {
	case w.runs < 0:
		return "without a bound"
	case w.runs == 1:
		return "once"
	}
	return fmt.Sprintf("%d times", w.runs)
}
