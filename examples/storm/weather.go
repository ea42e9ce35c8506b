package main

import (
	"context"
	"time"
)

// Kind is what ails the server.
type Kind int

const (
	Calm      Kind = iota // nothing
	Slow                  // every piece of work takes slowFactor times as long
	Failing               // most answers are a 500, after the usual work
	Hanging               // work that begins goes nowhere until the phase is over
	Resetting             // most connections are reset as soon as the request has come
	Dead                  // the process is gone, and its backlog with it: connections are refused
	Cold                  // a new process, its caches empty: capacity grows from coldShare to all of it
)

const (
	slowFactor = 4.0
	illShare   = 0.8  // of the requests that fail or are reset in those phases
	blipShare  = 0.02 // of the requests that fail on the calmest day: what retries are for
	coldShare  = 0.1  // of the capacity that a cold server has at first
)

func (k Kind) String() string {
	return [...]string{"calm", "slow", "fails", "hangs", "resets", "dead", "cold"}[k]
}

// Phase is one stretch of the storm, in time since its beginning.
type Phase struct {
	Kind       Kind
	Start, End time.Duration
}

// Length is how long the phase lasts.
func (p Phase) Length() time.Duration { return p.End - p.Start }

// Slowness is how many times longer than usual work takes that begins at time at.
func (p Phase) Slowness(at time.Duration) float64 {
	switch p.Kind {
	case Slow:
		return slowFactor
	case Cold:
		warmth := float64(at-p.Start) / float64(p.Length())
		return 1 / (coldShare + (1-coldShare)*warmth)
	}
	return 1
}

// Forecast is the phases of a storm, in order and without gaps. The last one is calm.
type Forecast []Phase

// storms are the full one and a short one, in seconds. In both the last calm is long enough
// to see who recovers: a breaker's open time may have grown as long as the storm.
var (
	full  = lengths{Calm: 2, Slow: 2, Failing: 1.5, Hanging: 1.5, Resetting: 1.5, Dead: 1.5, Cold: 2.5, after: 10}
	short = lengths{Calm: 0.7, Slow: 0.6, Failing: 0.4, Hanging: 0.5, Resetting: 0.4, Dead: 0.4, Cold: 0.7, after: 4}
)

// lengths has how many seconds each phase lasts; after is the calm at the end.
type lengths [after + 1]float64

const after = Cold + 1

// forecast puts the phases in their order.
func forecast(seconds lengths) Forecast {
	var f Forecast
	var at time.Duration
	for kind, s := range seconds {
		end := at + time.Duration(s*float64(time.Second))
		f = append(f, Phase{Kind(kind) % after, at, end})
		at = end
	}
	return f
}

// End is when the storm's last phase ends.
func (f Forecast) End() time.Duration { return f[len(f)-1].End }

// Healthy is when the server is whole again, for good.
func (f Forecast) Healthy() time.Duration { return f[len(f)-1].Start }

// Slot is the width of a point in charts.
func (f Forecast) Slot() time.Duration { return (f.End() + slots - 1) / slots }

const slots = 48

// At returns the phase at a time. What comes after the storm belongs to its last phase.
func (f Forecast) At(at time.Duration) Phase {
	for _, p := range f {
		if at < p.End {
			return p
		}
	}
	return f[len(f)-1]
}

// Weather is a forecast that has begun: all servers and clients live under the same one.
type Weather struct {
	Forecast
	Began time.Time
}

// Elapsed is the time since the storm began.
func (w *Weather) Elapsed() time.Duration { return time.Since(w.Began) }

// Now returns the present phase and time.
func (w *Weather) Now() (Phase, time.Duration) {
	at := w.Elapsed()
	return w.At(at), at
}

// Sleep waits until the storm has lasted for at. It reports false if ctx ended before.
func (w *Weather) Sleep(ctx context.Context, at time.Duration) bool {
	timer := time.NewTimer(at - w.Elapsed())
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
