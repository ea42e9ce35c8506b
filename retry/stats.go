package retry

import (
	"fmt"
	"math"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

// Stats is a snapshot of a [Retrier]'s counts since New. The counts are read one after the
// other, so under load they may be a call apart.
type Stats struct {
	Calls       int // calls of Do, except those whose ctx had ended before
	Retries     int // runs of fn beyond each call's first
	Recovered   int // calls that a retry brought to success
	Exhausted   int // calls given up because the attempts ran out
	OverBudget  int // calls given up because the budget was spent
	TooLate     int // calls given up because the next run would have come too late, for any reason
	Interrupted int // calls whose ctx ended in a delay
	Waiting     int // calls in a delay right now
}

// counts are what Stats reads. A call whose first run succeeds touches none but calls, and
// that only if the retrier's own budget does not count it.
type counts struct {
	calls, retries, recovered                   atomic.Int64
	exhausted, overBudget, tooLate, interrupted atomic.Int64
	waiting                                     atomic.Int64
}

// stop counts a call that was given up.
func (c *counts) stop(h halt) {
	switch h {
	case exhausted:
		c.exhausted.Add(1)
	case overBudget:
		c.overBudget.Add(1)
	case interrupted:
		c.interrupted.Add(1)
	default:
		c.tooLate.Add(1)
	}
}

// Stats returns a snapshot.
func (r *Retrier) Stats() Stats {
	c := &r.counts
	return Stats{
		Calls:       int(c.calls.Load()) + r.own.Stats().Calls,
		Retries:     int(c.retries.Load()),
		Recovered:   int(c.recovered.Load()),
		Exhausted:   int(c.exhausted.Load()),
		OverBudget:  int(c.overBudget.Load()),
		TooLate:     int(c.tooLate.Load()),
		Interrupted: int(c.interrupted.Load()),
		Waiting:     int(c.waiting.Load()),
	}
}

// Describe returns the configuration in force. Pauses is the longest sum of delays that the
// schedule allows, or MaxElapsed if that is shorter; an error that asks for a longer wait may
// exceed it, up to MaxRetryAfter for each. For a schedule that is not of this package
// it is MaxElapsed, and if that is not set the longest time there is.
func (r *Retrier) Describe() thole.Description {
	s := r.settings.Load()
	attempts, elapsed, schedule := "unlimited", "no bound", "custom"
	if s.MaxAttempts > 0 {
		attempts = fmt.Sprint(s.MaxAttempts)
	}
	if s.MaxElapsed > 0 {
		elapsed = s.MaxElapsed.String()
	}
	if s.curve != nil {
		schedule = s.curve.String()
	}
	budget := s.Budget.String()
	if s.own {
		budget += " (own)"
	}
	settings := []thole.Setting{
		{Key: "MaxAttempts", Value: attempts},
		{Key: "MaxElapsed", Value: elapsed},
		{Key: "Backoff", Value: schedule},
		{Key: "MaxRetryAfter", Value: s.MaxRetryAfter.String()},
		{Key: "Budget", Value: budget},
	}
	if s.RetryIf != nil {
		settings = append(settings, thole.Setting{Key: "RetryIf", Value: "set"})
	}
	return thole.Description{
		Kind: kind, Name: s.Name, Settings: settings,
		Runs: max(s.MaxAttempts, -1), Pauses: s.pauses(),
		Blocking: true,
	}
}

const kind = "retry"

// pauses returns the longest sum of a call's delays, as far as it is known.
func (s *settings) pauses() time.Duration {
	switch {
	case s.MaxAttempts < 0, s.curve == nil && s.MaxAttempts > 1 && s.MaxElapsed > 0:
		return s.MaxElapsed
	case s.curve == nil && s.MaxAttempts > 1:
		return math.MaxInt64
	}
	var sum time.Duration
	if s.curve != nil {
		sum = s.curve.longest(s.MaxAttempts - 1)
	}
	if s.MaxElapsed > 0 {
		sum = min(sum, s.MaxElapsed)
	}
	return sum
}

// String returns "retry", or "retry[name]".
func (r *Retrier) String() string {
	return thole.Description{Kind: kind, Name: r.settings.Load().Name}.String()
}
