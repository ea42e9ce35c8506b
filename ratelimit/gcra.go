package ratelimit

import (
	"math"
	"math/big"
	"math/bits"
	"time"

	"github.com/thole-go/thole/internal/check"
)

// The arithmetic of the token bucket: the Generic Cell Rate Algorithm of ATM (ITU-T I.371,
// "virtual scheduling"). Its whole state is one instant, the theoretical arrival time: when
// the bucket will be full again if nobody comes. Taking n tokens moves it on by n periods;
// the bucket is empty when it lies Burst periods ahead of now.
//
// The period, Per/Count, need not be a whole number of nanoseconds, and rounding it would make
// an error of the rate that grows with the rate. So instants are exact: nanoseconds and a
// remainder in units of 1/count ns, where count and token are Count and Per divided by their
// greatest common divisor. A token is worth `token` such units.
//
// # The bound
//
// Give each admitted call (at time s, of n tokens) the interval of the line which its tokens
// cover, n periods long: from the arrival time before it to the one after. Whatever happens
// below, the calls that are not cancelled keep these three, in order of their times:
//
//	(a) intervals do not overlap;
//	(b) an interval begins at s or later, or less than 1 ns before s;
//	(c) an interval ends by s + Burst periods.
//
// So the calls at times from s₁ to s₂ have intervals within less than s₂ − s₁ + 1 ns + Burst
// periods, hence fewer than Burst + rate × (s₂ − s₁ + 1 ns) tokens, where s₂ − s₁ + 1 ns is
// the number of readings of the clock from s₁ to s₂: the length of a half-open interval that
// contains both. The nanosecond is needed (a caller paced at exactly the period, call k at
// ⌈k × Per/Count⌉, is late by a fraction that it must not lose), and where the period is a
// whole number of nanoseconds nobody gets anything from it: the bound is then
// Burst + rate × (s₂ − s₁).

// instant is a time on a limiter's own clock: ns since its base, and frac/count ns more, 0 ≤
// frac < count.
type instant struct{ ns, frac int64 }

func (i instant) before(j instant) bool {
	return i.ns < j.ns || i.ns == j.ns && i.frac < j.frac
}

// ceil returns the first reading of the clock that is not before i.
func (i instant) ceil() int64 {
	if i.frac > 0 && i.ns < math.MaxInt64 {
		return i.ns + 1
	}
	return i.ns
}

// meter is a rate and a burst, ready for use. It is immutable and of a rate that is neither
// zero nor Unlimited.
type meter struct {
	count int64 // units of the remainder in a nanosecond
	token int64 // units in a token
	burst int
	depth instant // how long an empty bucket takes to fill
}

func newMeter(r Rate, burst int) meter {
	g, h := int64(r.Count), int64(r.Per)
	for h != 0 {
		g, h = h, g%h
	}
	m := meter{count: int64(r.Count) / g, token: int64(r.Per) / g, burst: burst}
	m.depth, _ = m.cost(burst)
	return m
}

// cost returns how long n ≥ 0 tokens take to come; false if longer than instants can tell.
func (m *meter) cost(n int) (instant, bool) {
	hi, lo := bits.Mul64(uint64(n), uint64(m.token))
	if hi >= uint64(m.count) {
		return instant{}, false
	}
	q, r := bits.Div64(hi, lo, uint64(m.count))
	if q > math.MaxInt64 {
		return instant{}, false
	}
	return instant{int64(q), int64(r)}, true
}

// add returns a + d, d ≥ 0, or the end of time if that comes first.
func (m *meter) add(a, d instant) instant {
	ns, frac := a.ns, a.frac
	if frac >= m.count-d.frac {
		frac -= m.count - d.frac
		if ns == math.MaxInt64 {
			return instant{ns: math.MaxInt64}
		}
		ns++
	} else {
		frac += d.frac
	}
	if ns > math.MaxInt64-d.ns {
		return instant{ns: math.MaxInt64}
	}
	return instant{ns + d.ns, frac}
}

// sub returns a − d; both at most the end of time, the result may be before the base.
func (m *meter) sub(a, d instant) instant {
	ns, frac := a.ns-d.ns, a.frac-d.frac
	if frac < 0 {
		ns, frac = ns-1, frac+m.count
	}
	return instant{ns, frac}
}

// due returns the first time at which n tokens are there, if the arrival time is tat; false
// if none. n may be more than the burst where it is the sum of several calls.
func (m *meter) due(tat instant, n int) (int64, bool) {
	c, ok := m.cost(n)
	if !ok {
		return 0, false
	}
	return m.sub(m.add(tat, c), m.depth).ceil(), true
}

// start returns where the interval of a call at the time at begins. One that comes in the
// very nanosecond in which the bucket is full again loses no fraction of it.
func (m *meter) start(tat instant, at int64) instant {
	if tat.ceil() >= at {
		return tat
	}
	return instant{ns: at}
}

// take returns the arrival time after a call of n tokens at the time at, due by then.
func (m *meter) take(tat instant, n int, at int64) instant {
	c, _ := m.cost(n)
	return m.add(m.start(tat, at), c)
}

// available returns how many whole tokens could be taken at now.
func (m *meter) available(tat instant, now int64) int {
	if tat.ceil() <= now {
		return m.burst
	}
	room := m.sub(m.add(instant{ns: now}, m.depth), tat)
	if room.ns < 0 {
		return 0
	}
	hi, lo := bits.Mul64(uint64(room.ns), uint64(m.count))
	lo, carry := bits.Add64(lo, uint64(room.frac), 0)
	n, _ := bits.Div64(hi+carry, lo, uint64(m.token))
	return int(n)
}

// convert returns what the instant i of this meter's line, seen at now, is on the line of
// another: the same number of tokens can be taken, but no more than the other holds.
func (m *meter) convert(i instant, now int64, to *meter) instant {
	debt := new(big.Int).Mul(big.NewInt(i.ns-now), big.NewInt(m.count))
	debt.Add(debt, big.NewInt(i.frac)) // in units of this line
	grown := new(big.Int).Sub(big.NewInt(int64(to.burst)), big.NewInt(int64(m.burst)))
	debt.Add(debt, grown.Mul(grown, big.NewInt(m.token))) // a token of room more is one of debt more
	if debt.Sign() <= 0 {
		return instant{ns: now}
	}
	// Units of the other line, rounded up: against the caller, by less than a unit.
	debt.Mul(debt, big.NewInt(to.token))
	rest := new(big.Int)
	debt.DivMod(debt, big.NewInt(m.token), rest)
	if rest.Sign() > 0 {
		debt.Add(debt, big.NewInt(1))
	}
	ns, frac := debt.DivMod(debt, big.NewInt(to.count), rest)
	if !ns.IsInt64() {
		return instant{ns: math.MaxInt64}
	}
	return to.add(instant{ns: now}, instant{ns.Int64(), frac.Int64()})
}

// tooFar reports whether at is so far ahead that nobody need wait for it.
func tooFar(at, now int64) bool { return at-now >= int64(check.MaxDuration) }

// until returns the time from now to at, 0 if at is past.
func until(at, now int64) time.Duration { return time.Duration(max(at-now, 0)) }
