package main

import (
	"slices"
	"sync"
	"time"
)

// Call is how one call ended.
type Call struct {
	At     time.Duration // when it was made, since the storm began
	Took   time.Duration
	Served bool // a good answer within the deadline
}

// Log collects calls as they end.
type Log struct {
	mu    sync.Mutex
	calls []Call
}

// Add may be called concurrently.
func (l *Log) Add(c Call) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls = append(l.calls, c)
}

// Calls returns those that have ended so far.
func (l *Log) Calls() []Call {
	l.mu.Lock()
	defer l.mu.Unlock()
	return slices.Clone(l.calls)
}

// Share counts how many of some calls were served.
type Share struct{ Served, Of int }

// Ratio is the share served, 0 if there were no calls.
func (s Share) Ratio() float64 {
	if s.Of == 0 {
		return 0
	}
	return float64(s.Served) / float64(s.Of)
}

func (s *Share) add(c Call) {
	s.Of++
	if c.Served {
		s.Served++
	}
}

// share is of the calls made in [from, to).
func share(calls []Call, from, to time.Duration) Share {
	var s Share
	for _, c := range calls {
		if c.At >= from && c.At < to {
			s.add(c)
		}
	}
	return s
}

// curve cuts the time until end into slots and returns the share of each.
func curve(calls []Call, slot, end time.Duration) []Share {
	points := make([]Share, (end+slot-1)/slot)
	for _, c := range calls {
		if i := int(c.At / slot); i >= 0 && i < len(points) {
			points[i].add(c)
		}
	}
	return points
}

// percentile returns the value that the share p of the sorted times does not exceed.
func percentile(sorted []time.Duration, p float64) time.Duration {
	if len(sorted) == 0 {
		return 0
	}
	rank := int(p * float64(len(sorted)))
	return sorted[min(rank, len(sorted)-1)]
}

// recovery returns how long after healthy the first moment is from which at least 95 % of
// the calls were served: of those made in the second that follows, and of all until end. It
// reports false if there is none.
func recovery(calls []Call, healthy, end time.Duration) (time.Duration, bool) {
	const (
		step   = 100 * time.Millisecond
		enough = 0.95
	)
	for at := healthy; at+time.Second <= end; at += step {
		next, rest := share(calls, at, at+time.Second), share(calls, at, end)
		if next.Ratio() >= enough && rest.Ratio() >= enough {
			return at - healthy, true
		}
	}
	return 0, false
}

// Result is what one client's storm came to.
type Result struct {
	Client
	All       Share         // of all calls
	After     Share         // of those made since the server was healthy again
	P50, P99  time.Duration // of the calls that were served
	Failed    time.Duration // median time until a call that was not served came back
	PerCall   float64       // requests that reached the server, per call made
	Peak      int           // most requests in the server at a time
	Recovery  time.Duration // from when the server was healthy
	Recovered bool
	Curve     []Share // one for each Forecast.Slot
}

// evaluate sums up a client's calls, of which arrived requests reached its server.
func evaluate(c Client, calls []Call, arrived, peak int, f Forecast) Result {
	var served, failed []time.Duration
	for _, c := range calls {
		if c.Served {
			served = append(served, c.Took)
		} else {
			failed = append(failed, c.Took)
		}
	}
	slices.Sort(served)
	slices.Sort(failed)
	r := Result{
		Client: c,
		All:    share(calls, 0, f.End()),
		After:  share(calls, f.Healthy(), f.End()),
		P50:    percentile(served, 0.50),
		P99:    percentile(served, 0.99),
		Failed: percentile(failed, 0.50),
		Peak:   peak,
		Curve:  curve(calls, f.Slot(), f.End()),
	}
	if len(calls) > 0 {
		r.PerCall = float64(arrived) / float64(len(calls))
	}
	r.Recovery, r.Recovered = recovery(calls, f.Healthy(), f.End())
	return r
}
