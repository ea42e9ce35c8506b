package thole

import (
	"fmt"
	"time"
)

// Severity tells how much a [Finding] matters.
type Severity string

const (
	// SeverityError: the policies cannot do what they are there for.
	SeverityError Severity = "error"
	// SeverityWarning: they will surprise their owner on a bad day.
	SeverityWarning Severity = "warning"
)

// Finding is one mistake that [Lint] found.
type Finding struct {
	ID       string // stable, for switching a check off: "timeout-order"
	Severity Severity
	Message  string // what is wrong, with the numbers configured, and why it matters
}

// String returns "severity id: message".
func (f Finding) String() string {
	return fmt.Sprintf("%s %s: %s", f.Severity, f.ID, f.Message)
}

// Lint looks for known mistakes in how p is composed and configured, and returns what it
// finds, outermost first; nothing for a sound composition. Some mistakes in keyed policies
// show only once a key has been used. Call it in a test, or log its findings at start-up.
//
//   - timeout-order: a time limit as long as one around it never ends anything.
//   - timeout-short: a total limit too short for the attempts inside it, each at its limit.
//   - retry-nested: a retry inside a retry multiplies the load on a failing destination.
//   - never-acts: a retry or hedge that may run fn only once.
//   - hedge-late: a hedge that would start no earlier than the limit inside it ends the first attempt.
//   - breaker-window: a window shorter than two attempt timeouts forgets a hang before it is complete;
//     not with a SlowCall shorter than the timeout, which counts a hang while it lasts.
//   - breaker-shared: one breaker guards several targets, of which it knows those that have failed, or a
//     keyed policy has the same policy for several keys: one bad target cuts off all.
//   - wait-long: a limiter or bulkhead lets calls wait as long as the time limit around it.
//   - chaos-enabled: faults are being injected.
func Lint(p Policy) []Finding {
	layers := flatten(p, 0)
	var found []Finding
	for i := range layers {
		for _, check := range lintChecks {
			if f, ok := check(layers[i], layers[:i], layers[i+1:]); ok {
				found = append(found, f)
			}
		}
	}
	return found
}

// lintChecks each look at one layer, between those outside and those inside of it.
var lintChecks = []func(l layer, outer, inner []layer) (Finding, bool){
	lintTimeoutOrder,
	lintTimeoutShort,
	lintRetryNested,
	lintNeverActs,
	lintHedgeLate,
	lintBreakerWindow,
	lintBreakerShared,
	lintWaitLong,
	lintChaosEnabled,
}

const (
	kindTimeout   = "timeout"
	kindRetry     = "retry"
	kindHedge     = "hedge"
	kindBreaker   = "breaker"
	kindChaos     = "chaos"
	kindPerTarget = "perTarget"
)

func lintTimeoutOrder(l layer, outer, _ []layer) (Finding, bool) {
	if l.Kind != kindTimeout {
		return Finding{}, false
	}
	o, ok := tightest(outer)
	if !ok || l.Limit < o.Limit {
		return Finding{}, false
	}
	return Finding{"timeout-order", SeverityError, fmt.Sprintf(
		"%s of %v is inside %s of %v and can never end a call: make it shorter than the limit around it",
		l, l.Limit, o, o.Limit)}, true
}

func lintTimeoutShort(l layer, _, inner []layer) (Finding, bool) {
	if l.Kind != kindTimeout {
		return Finding{}, false
	}
	for i, r := range inner {
		if r.Kind == kindTimeout {
			break
		}
		if r.Kind != kindRetry || r.Runs < 2 {
			continue
		}
		attempt, ok := tightest(inner[i+1:])
		if !ok || attempt.Limit >= l.Limit {
			break // timeout-order has its own word
		}
		if elapsed := r.maxElapsed(); elapsed > 0 && plus(elapsed, attempt.Limit) <= l.Limit {
			break // no attempt begins so late that the total limit ends it
		}
		if need := times(attempt.Limit, r.Runs); need > l.Limit {
			return Finding{"timeout-short", SeverityWarning, fmt.Sprintf(
				"%s of %v is too short for the %d attempts of %s at up to %v each (%v): the last ones are cut off or never made",
				l, l.Limit, r.Runs, r, attempt.Limit, need)}, true
		}
		break
	}
	return Finding{}, false
}

func lintRetryNested(l layer, outer, _ []layer) (Finding, bool) {
	if l.Kind != kindRetry || l.Runs == 1 {
		return Finding{}, false
	}
	for _, o := range outer {
		if o.Kind == kindRetry && o.Runs != 1 {
			return Finding{"retry-nested", SeverityWarning, fmt.Sprintf(
				"%s (%s) is inside %s (%s): a failing destination gets %s: let one layer retry",
				l, attempts(l.Runs), o, attempts(o.Runs), product(l.Runs, o.Runs))}, true
		}
	}
	return Finding{}, false
}

func lintNeverActs(l layer, outer, _ []layer) (Finding, bool) {
	if l.Kind != kindRetry && l.Kind != kindHedge {
		return Finding{}, false
	}
	if l.Runs == 1 {
		return Finding{"never-acts", SeverityWarning, fmt.Sprintf(
			"%s is configured for a single attempt: it never acts; leave it out, or allow more", l)}, true
	}
	for _, o := range outer {
		if o.Once {
			return Finding{"never-acts", SeverityWarning, fmt.Sprintf(
				"%s (%s) is inside %s, which allows one run of fn: it never acts", l, attempts(l.Runs), o)}, true
		}
	}
	return Finding{}, false
}

func lintHedgeLate(l layer, _, inner []layer) (Finding, bool) {
	if l.Kind != kindHedge || l.Delay == 0 {
		return Finding{}, false
	}
	t, ok := tightest(inner)
	if !ok || l.Delay < max(t.Limit, worstCase(inner).time) { // waits or retries around the limit make an attempt longer
		return Finding{}, false
	}
	return Finding{"hedge-late", SeverityError, fmt.Sprintf(
		"%s starts another attempt after %v, but %s ends the first one after %v: hedge earlier, or allow attempts more time",
		l, l.Delay, t, t.Limit)}, true
}

func lintBreakerWindow(l layer, _, inner []layer) (Finding, bool) {
	if l.Kind != kindBreaker || l.Window == 0 {
		return Finding{}, false
	}
	t, ok := tightest(inner)
	if !ok || l.Window >= times(t.Limit, 2) {
		return Finding{}, false
	}
	if slow := l.duration("SlowCall"); slow > 0 && slow < t.Limit {
		return Finding{}, false // a hang is counted while it lasts
	}
	return Finding{"breaker-window", SeverityWarning, fmt.Sprintf(
		"%s looks back %v, but calls that hang are counted only after %v (%s): a window of at least %v sees two rounds of them",
		l, l.Window, t.Limit, t, times(t.Limit, 2))}, true
}

func lintBreakerShared(l layer, outer, _ []layer) (Finding, bool) {
	if l.Shared {
		return Finding{"breaker-shared", SeverityError, fmt.Sprintf(
			"%s uses the very same policy for several keys: make a new one for each key", l)}, true
	}
	if l.Kind != kindBreaker || len(l.Targets) < 2 {
		return Finding{}, false
	}
	for _, o := range outer {
		if o.Kind == kindPerTarget && o.Keyed {
			return Finding{"breaker-shared", SeverityError, fmt.Sprintf(
				"%s is inside %s and yet guards several targets (%s, %s, …): make a new one for each target",
				l, o, l.Targets[0], l.Targets[1])}, true
		}
	}
	if l.depth > 0 {
		return Finding{}, false // a key may well stand for several targets
	}
	return Finding{"breaker-shared", SeverityWarning, fmt.Sprintf(
		"%s guards several targets (%s, %s, …): when one of them fails all are cut off; use PerTarget or Keyed",
		l, l.Targets[0], l.Targets[1])}, true
}

func lintWaitLong(l layer, outer, _ []layer) (Finding, bool) {
	if l.MaxWait <= 0 || l.Kind == kindChaos { // whose delays are meant to exceed limits
		return Finding{}, false
	}
	t, ok := tightest(outer)
	if !ok || l.MaxWait < t.Limit {
		return Finding{}, false
	}
	return Finding{"wait-long", SeverityWarning, fmt.Sprintf(
		"%s lets a call wait up to %v, but %s around it ends after %v: the wait leaves no time for the call",
		l, l.MaxWait, t, t.Limit)}, true
}

func lintChaosEnabled(l layer, _, _ []layer) (Finding, bool) {
	if l.Kind != kindChaos || len(l.Settings) == 0 || l.Settings[0].Key != "ENABLED" {
		return Finding{}, false
	}
	return Finding{"chaos-enabled", SeverityWarning, fmt.Sprintf(
		"%s injects faults, %s: disable it unless this is a drill", l, l.Settings[0].Value)}, true
}

// tightest returns the shortest time limit among the layers.
func tightest(layers []layer) (layer, bool) {
	best, ok := layer{}, false
	for _, l := range layers {
		if l.Kind == kindTimeout && l.Limit > 0 && (!ok || l.Limit < best.Limit) {
			best, ok = l, true
		}
	}
	return best, ok
}

func attempts(n int) string {
	if n < 0 {
		return "unlimited attempts"
	}
	return fmt.Sprintf("%d attempts", max(n, 1))
}

func product(a, b int) string {
	n := timesRuns(a, b)
	if a < 0 || b < 0 || n < 0 {
		return "calls without end"
	}
	return fmt.Sprintf("up to %d calls for one", n)
}

// maxElapsed returns the time in which a retry begins its last run; 0 if it has no such bound.
func (l layer) maxElapsed() time.Duration {
	if l.Kind != kindRetry {
		return 0
	}
	return l.duration("MaxElapsed")
}

// duration returns the time that a setting says; 0 if there is no such setting, or it says none.
func (l layer) duration(key string) time.Duration {
	for _, s := range l.Settings {
		if s.Key == key {
			d, _ := time.ParseDuration(s.Value)
			return d
		}
	}
	return 0
}
