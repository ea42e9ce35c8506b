package ratelimit

import "slices"

// schedule is the state of a token bucket while somebody waits or holds a promise: the arrival
// time of all calls so far, and behind it the calls promised for later, in order of their
// times. It is pure: no clock, no lock.
type schedule struct {
	meter
	tat      instant
	promises []*Reservation // not due yet, by at

	// past are the reservations whose time has come and whose tokens refill has not yet
	// replaced: at most about 2 × Burst, in the order of their intervals.
	past []*Reservation
}

// A cursor finds times for further calls, one behind the other, among the promises of a
// schedule. It works on a copy of the state and changes nothing.
type cursor struct {
	*meter
	tat      instant
	promises []*Reservation // those behind the cursor
}

func (s *schedule) cursor() *cursor { return &cursor{&s.meter, s.tat, s.promises} }

// place returns the first time, not before from, at which n tokens can be taken and every
// promise still be kept; false if there is none in this age. Promises are kept by (c) of the
// bound: a call is never inserted where it would push a later interval beyond its end.
func (c cursor) place(n int, from int64) (int64, bool) {
	for {
		due, ok := c.due(c.tat, n)
		if !ok {
			return 0, false
		}
		at := max(due, from)
		if len(c.promises) == 0 {
			return at, true
		}
		next := c.promises[0]
		if at < next.at && c.fits(n, at) {
			return at, true
		}
		c.tat = c.take(c.tat, next.n, next.at)
		c.promises = c.promises[1:]
		from = max(from, next.at)
	}
}

// book moves the cursor behind a call of n tokens at the time at, which place has found.
func (c *cursor) book(n int, at int64) {
	for len(c.promises) > 0 && c.promises[0].at <= at {
		c.tat = c.take(c.tat, c.promises[0].n, c.promises[0].at)
		c.promises = c.promises[1:]
	}
	c.tat = c.take(c.tat, n, at)
}

// fits reports whether a call of n tokens at the time at, ahead of all promises, leaves each
// as it is or still within its bound.
func (c cursor) fits(n int, at int64) bool {
	without, with := c.tat, c.take(c.tat, n, at)
	for _, p := range c.promises {
		without, with = c.take(without, p.n, p.at), c.take(with, p.n, p.at)
		if with == without {
			return true
		}
		// A promise that a change of the rate has put beyond its bound bears no delay either.
		if c.sub(with, c.depth).ceil() > p.at {
			return false
		}
	}
	return true
}

// admit records a call of n tokens at the time at, which place has found, and returns its
// interval.
func (s *schedule) admit(n int, at int64) (start, end instant) {
	s.settle(at)
	start = s.start(s.tat, at)
	s.tat = s.take(s.tat, n, at)
	return start, s.tat
}

// settle turns the promises due by now into calls of the past, and forgets those reservations
// which refill has made good.
func (s *schedule) settle(now int64) {
	due := 0
	for ; due < len(s.promises) && s.promises[due].at <= now; due++ {
		p := s.promises[due]
		p.start = s.start(s.tat, p.at)
		s.tat = s.take(s.tat, p.n, p.at)
		p.end = s.tat
		s.past = append(s.past, p)
	}
	s.promises = slices.Delete(s.promises, 0, due)
	gone := 0
	for gone < len(s.past) && s.past[gone].end.ceil() <= now {
		gone++
	}
	s.past = slices.Delete(s.past, 0, gone)
}

// promise books r at its time, which place has found.
func (s *schedule) promise(r *Reservation) {
	i := len(s.promises)
	for i > 0 && s.promises[i-1].at > r.at {
		i--
	}
	s.promises = slices.Insert(s.promises, i, r)
}

// wake forgets what was promised in shadow: those calls have long gone ahead, and nobody need wait
// for their time.
func (s *schedule) wake() {
	s.promises = slices.DeleteFunc(s.promises, func(r *Reservation) bool { return r.bucket == nil || r.shadow })
}

// cancel takes r back at now, and settle(now) has been called. It does nothing if r is neither
// promised nor among the past ones: cancelled before, or made good by refill.
//
// One whose time has not come leaves no trace. One whose time has come was either taken out
// of a full bucket that has filled again since, or has an interval [start, end] on the line:
// then every later interval moves up by what of r's own lies after now. So it begins at now or
// later, thus not before its call's time, and ends earlier than it did: (a), (b) and (c)
// hold as before. If nothing was taken since, that is exactly the state without r. Otherwise
// it may be less by what refill has already replaced, and is never more.
func (s *schedule) cancel(r *Reservation, now int64) {
	if i := slices.Index(s.promises, r); i >= 0 {
		s.promises = slices.Delete(s.promises, i, i+1)
		return
	}
	i := slices.Index(s.past, r)
	if i < 0 {
		return
	}
	from := s.start(r.start, now)
	if !from.before(r.end) {
		return
	}
	back := s.sub(r.end, from)
	s.tat = s.sub(s.tat, back)
	for _, later := range s.past[i+1:] {
		later.start, later.end = s.sub(later.start, back), s.sub(later.end, back)
	}
	s.past = slices.Delete(s.past, i, i+1)
}

// convert moves the schedule over to another rate and burst, seen at now: the tokens in the
// bucket stay, up to the new burst. Promises keep their times.
func (s *schedule) convert(to meter, now int64) {
	s.tat = s.meter.convert(s.tat, now, &to)
	for _, r := range s.past {
		r.start, r.end = s.meter.convert(r.start, now, &to), s.meter.convert(r.end, now, &to)
	}
	s.meter = to
}
