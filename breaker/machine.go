package breaker

import (
	"math"
	"slices"
	"time"

	"github.com/thole-go/thole"
)

// forever is the end of what only Reset ends.
const forever = time.Duration(math.MaxInt64)

// machine is the breaker's state and its rules of change. It holds no lock and no clock: each
// method is told the time since some fixed moment, which never decreases. It doesn't count
// calls; whoever does tells it to trip.
type machine struct {
	cfg    *Config // with the defaults filled in
	jitter func() float64

	state    State
	gen      uint64 // counts the changes; what began in another generation is void
	isolated bool
	openFor  time.Duration // how long it is, or last was, open
	until    time.Duration // when that ends
	failed   int           // recoveries that failed since the last that did not
	opened   int           // times it opened by itself, ever

	leases []lease // probes out, in the order of their serials
	serial int64
	streak int // probes in a row that succeeded

	rampFrom, rampUntil time.Duration // equal when there is no ramp

	changes []change // not told of yet
}

// lease is a probe's right to its place.
type lease struct {
	serial         int64
	start, expires time.Duration
}

// enter begins a new generation in state to.
func (m *machine) enter(to State) {
	if to != m.state {
		m.changes = append(m.changes, change{m.state, to})
	}
	m.state = to
	m.gen++
	m.isolated = false
	m.leases = m.leases[:0]
	m.streak = 0
	m.rampFrom, m.rampUntil = 0, 0
}

// tick lets the time that has passed have its effect.
func (m *machine) tick(now time.Duration) {
	if m.state == Open && now >= m.until {
		m.enter(HalfOpen)
	}
	if m.state == HalfOpen {
		m.leases = slices.DeleteFunc(m.leases, func(l lease) bool { return now >= l.expires })
	}
}

// probe lets one call through while half-open, if there is a place; it returns the lease's
// serial.
func (m *machine) probe(now time.Duration) (serial int64, ok bool) {
	if len(m.leases) >= m.cfg.Probes {
		return 0, false
	}
	m.serial++
	m.leases = append(m.leases, lease{m.serial, now, now + m.cfg.ProbeTimeout})
	return m.serial, true
}

// settleProbe returns a lease and draws the conclusion from the probe's outcome. A lease that
// has expired, or was of another generation, changes nothing.
func (m *machine) settleProbe(now time.Duration, serial int64, o thole.Outcome) {
	i, held := slices.BinarySearchFunc(m.leases, serial, func(l lease, serial int64) int {
		return int(l.serial - serial)
	})
	if m.state != HalfOpen || !held {
		return
	}
	took := now - m.leases[i].start
	m.leases = slices.Delete(m.leases, i, i+1)
	if o == thole.Success && m.cfg.SlowCall > 0 && took > m.cfg.SlowCall {
		o = thole.Failure // closing for a callee that is still too slow would only open again
	}
	switch o {
	case thole.Success:
		if m.streak++; m.streak >= m.cfg.ProbeSuccesses {
			m.close(now)
		}
	case thole.Failure:
		m.failed++
		m.open(now)
	}
}

// trip opens a closed circuit. Within the ramp that is a failed recovery.
func (m *machine) trip(now time.Duration) {
	if m.ramping(now) {
		m.failed++
	} else {
		m.failed = 0
	}
	m.open(now)
}

func (m *machine) open(now time.Duration) {
	m.enter(Open)
	m.opened++
	m.openFor = m.nextOpenFor()
	m.until = now + m.openFor
}

// nextOpenFor doubles the open time for each failed recovery, bounds it, and then shortens
// it by up to a tenth.
func (m *machine) nextOpenFor() time.Duration {
	d := m.cfg.OpenFor
	for i := 0; i < m.failed && d < m.cfg.MaxOpenFor; i++ {
		d *= 2 // no overflow: a Config's durations are below a third of what fits
	}
	d = min(d, m.cfg.MaxOpenFor)
	return max(d-time.Duration(m.jitter()*float64(d)/10), 1)
}

func (m *machine) close(now time.Duration) {
	m.enter(Closed)
	m.rampFrom, m.rampUntil = now, now+m.cfg.RampUp
	if m.cfg.RampUp == 0 {
		m.failed = 0
	}
}

// isolate opens the circuit for d, or until reset if d ≤ 0.
func (m *machine) isolate(now, d time.Duration) {
	m.tick(now)
	if m.state == Closed && !m.ramping(now) {
		m.failed = 0
	}
	m.enter(Open)
	m.isolated = true
	m.openFor, m.until = d, now+d
	if d <= 0 || d > forever-now {
		m.openFor, m.until = forever, forever
	}
}

// reset closes the circuit as if it had never been open.
func (m *machine) reset(now time.Duration) {
	m.tick(now)
	m.enter(Closed)
	m.failed = 0
}

// reconfigure goes on with another configuration. Probes keep their leases; an open time or a
// ramp in progress is measured by the new bounds.
func (m *machine) reconfigure(now time.Duration, cfg *Config) {
	m.tick(now)
	m.cfg = cfg
	if m.state == Open && !m.isolated {
		m.openFor = min(m.openFor, cfg.MaxOpenFor)
		m.until = min(m.until, now+m.openFor)
	}
	if m.ramping(now) {
		m.rampUntil = max(m.rampFrom+cfg.RampUp, now)
	}
}

func (m *machine) ramping(now time.Duration) bool { return now < m.rampUntil }

// share returns which part of the calls is admitted at now.
func (m *machine) share(now time.Duration) float64 {
	switch {
	case m.state != Closed:
		return 0
	case !m.ramping(now):
		return 1
	}
	return float64(now-m.rampFrom) / float64(m.rampUntil-m.rampFrom)
}

// peek returns the state and the number of probes out as tick would leave them.
func (m *machine) peek(now time.Duration) (State, int) {
	if m.state == Open && now >= m.until {
		return HalfOpen, 0
	}
	probes := 0
	for _, l := range m.leases {
		if now < l.expires {
			probes++
		}
	}
	return m.state, probes
}

// retryAfter returns how long from now a call may be let through, at the earliest.
func (m *machine) retryAfter(now time.Duration) time.Duration {
	state, probes := m.peek(now)
	switch {
	case state == Open && m.until == forever:
		return m.cfg.MaxOpenFor
	case state == Open:
		return m.until - now
	case state == HalfOpen && probes >= m.cfg.Probes:
		wait := m.openFor
		for _, l := range m.leases {
			if now < l.expires {
				wait = min(wait, l.expires-now)
			}
		}
		return wait
	case state == Closed && m.ramping(now):
		return min(m.rampUntil-now, max(m.cfg.RampUp/10, 1), m.openFor)
	}
	return 0
}
