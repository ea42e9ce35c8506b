package ratelimit

import "math"

// The slow path of the token bucket. Under the lock the state leaves the epoch's word, which
// says held meanwhile, for the schedule; it goes back when nobody waits and nothing is promised.

// open locks, takes the state over from the fast path, and serves who is due.
func (b *TokenBucket) open() int64 {
	b.mu.Lock()
	e := b.epoch.Load()
	if word, calls, ok := e.seize(); ok {
		b.schedule.tat = e.instant(word >> callBits)
		b.admitted += calls
	}
	now := b.clock()
	if max(b.seen, e.origin)-now > rewound {
		b.seen, b.schedule.tat = now, instant{now, 0}
		b.renew(now)
	}
	now = max(now, b.seen)
	b.serve(b, now)
	b.schedule.settle(now)
	return now
}

// close hands the state back to the fast path if it can, and unlocks.
func (b *TokenBucket) close() {
	e := b.epoch.Load()
	if !e.slow && b.head == nil && len(b.schedule.promises) == 0 {
		b.publish(e)
	}
	b.tell()
	b.mu.Unlock()
}

// publish puts the arrival time into the epoch's word, or that of a new epoch if half of this
// one's time has passed.
func (b *TokenBucket) publish(e *rateEpoch) {
	now := b.seen
	tat := b.schedule.start(b.schedule.tat, now)
	if now-e.origin > e.horizon/2 || now < e.origin {
		e = b.renew(now)
	}
	// A promise kept across a change of the rate can leave a debt beyond the words' bounds.
	if tat.ns-e.origin > e.horizon {
		return
	}
	e.release(((tat.ns-e.origin)*e.count + tat.frac) << callBits)
}

// renew makes a new epoch. That must be where the arrival time goes back: whoever has read a word
// that came back would take its calls for those of an earlier lap.
func (b *TokenBucket) renew(now int64) *rateEpoch {
	e := newEpoch(b.cfg, now)
	if e.mode == metered {
		e.fit(&b.schedule.meter)
	}
	b.epoch.Store(e)
	return e
}

// instant returns an arrival time of the word.
func (e *rateEpoch) instant(tat int64) instant {
	ns, frac := tat/e.count, tat%e.count
	if frac < 0 {
		ns, frac = ns-1, frac+e.count
	}
	return instant{e.origin + ns, frac}
}

// due returns when the first in line can have n tokens.
func (b *TokenBucket) due(n int, from int64) (int64, bool) {
	return b.schedule.cursor().place(n, from)
}

// behind returns when a newcomer can have n tokens.
func (b *TokenBucket) behind(n int, now int64) (int64, bool) {
	e := b.epoch.Load()
	if e.mode != metered {
		return now, e.mode == admitAll
	}
	if n > e.most {
		return 0, false
	}
	if len(b.schedule.promises) > 0 {
		return b.line.behind(b.schedule.cursor(), n, now)
	}
	// Those in line take their tokens one behind the other without a pause: as one call would.
	at, ok := b.schedule.due(b.schedule.tat, b.tokens+n)
	return max(at, now), ok
}

func (b *TokenBucket) limits() (most int, shadow bool) {
	e := b.epoch.Load()
	if e.mode != metered {
		return math.MaxInt, e.shadow
	}
	return e.most, e.shadow
}

// take takes n tokens for a call at a time that due or behind returned.
func (b *TokenBucket) take(n int, at int64) {
	b.admitted++
	if b.epoch.Load().mode == metered {
		b.schedule.admit(n, at)
	}
}

// Reconfigure changes the limiter in place. An invalid cfg changes nothing and is returned as
// an error. The tokens in the bucket stay, up to the new Burst; they come at the new rate from
// now on. Those that wait keep their places and get new times; who cannot be served in time
// any more is refused at once. Reservations keep their times. A limiter that was Unlimited
// begins with a full bucket, one that denied all with an empty one. With Shadow switched on
// those that wait go on at once; switched off, it leaves no debt of calls that would have waited
// until later.
func (b *TokenBucket) Reconfigure(cfg TokenBucketConfig) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	cfg = cfg.withDefaults()
	now := b.open()
	defer b.close()
	was := b.epoch.Load().mode
	if b.cfg.Shadow && !cfg.Shadow {
		b.schedule.wake()
	}
	b.cfg = cfg
	if cfg.Name != b.limited.Load().Name {
		b.setName(cfg.Name, b)
	}
	e := newEpoch(cfg, now)
	if e.mode == metered {
		b.convert(was, newMeter(cfg.Rate, cfg.Burst), now)
		e.fit(&b.schedule.meter)
	}
	b.epoch.Store(e)
	switch e.mode {
	case admitAll:
		b.admitted += b.len
		b.dismiss(served)
		b.schedule = schedule{}
	case denyAll:
		why := refused
		if cfg.Shadow {
			why = excused
		}
		b.dismiss(why)
		b.schedule = schedule{}
	default:
		b.serve(b, now)
		if cfg.Shadow {
			b.letGo(now)
		}
		b.review(b.schedule.cursor(), e.most, now)
	}
	return nil
}

// letGo ends everybody's wait, since shadow has been switched on. What was decided on each stands:
// see feign.
func (b *TokenBucket) letGo(now int64) {
	from := now
	for w := b.head; w != nil; w = b.head {
		at, ok := b.due(w.n, from)
		if most, _ := b.limits(); w.n > most || !ok || at > w.until || tooFar(at, now) {
			b.remove(w, excused)
			continue
		}
		b.admitted++
		b.book(&Reservation{n: w.n, at: at}, now)
		b.remove(w, served)
		from = at
	}
}

// convert moves the state to the meter to.
func (b *TokenBucket) convert(was mode, to meter, now int64) {
	switch was {
	case metered:
		b.schedule.convert(to, now)
	case admitAll:
		b.schedule.meter = to
		b.schedule.tat = instant{ns: now}
	case denyAll:
		b.schedule.meter = to
		b.schedule.tat = to.add(instant{ns: now}, to.depth)
	}
}
