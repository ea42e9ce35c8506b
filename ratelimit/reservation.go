package ratelimit

import "time"

// Reservation is a promise of tokens at a certain time, made by TokenBucket.Reserve. Its
// methods are safe for concurrent use.
type Reservation struct {
	bucket *TokenBucket // nil if there is nothing to wait for or to give back
	ok     bool
	n      int
	shadow bool
	at     int64 // when it may act; never changes

	start, end instant // its interval, once its time has come; the bucket's lock guards them
}

// OK reports whether the bucket can give the tokens at all. If not, nothing was taken.
func (r *Reservation) OK() bool { return r.ok }

// Delay returns how long from now the holder has to wait before it may act; 0 if it may act
// at once, 100 years if the reservation is not OK. The time promised never changes.
func (r *Reservation) Delay() time.Duration {
	if !r.ok {
		return never
	}
	if r.bucket == nil || r.shadow {
		return 0
	}
	return until(r.at, r.bucket.clock())
}

// Cancel says that the holder will not act. If the reserved time has not come yet, the bucket
// is as if the reservation had never been: whoever waits moves up, while other reservations
// keep their times, and the place that has become free goes to whoever comes next. If
// it has come, what refill has not replaced since is given back; that is all of it if
// nothing else was taken meanwhile, and never so much that more than Burst + rate × t could
// act in any time t. Cancelling again, or one that is not OK, does nothing.
func (r *Reservation) Cancel() {
	if r.bucket == nil {
		return
	}
	b := r.bucket
	now := b.open()
	tat := b.schedule.tat
	b.schedule.cancel(r, now)
	if b.schedule.tat.before(tat) {
		b.renew(now)
	}
	b.retime()
	b.serve(b, now)
	b.close()
}

// Reserve takes n tokens, which may come only later, and returns when: the caller must wait
// for the Delay, or call Cancel. It queues behind those that wait already. The reservation
// is not OK, and takes nothing, if n is more than Burst or less than 0, or the rate is 0. A
// limiter in Shadow makes nobody wait: Delay is 0.
func (b *TokenBucket) Reserve(n int) *Reservation {
	e := b.epoch.Load()
	free := &Reservation{ok: true}
	switch {
	case n == 0:
		return free
	case n < 0:
		return b.noReservation(e)
	case e.mode == admitAll:
		b.passed.Add(1)
		return free
	}
	now := b.open()
	defer b.close()
	e = b.epoch.Load()
	if e.mode == admitAll {
		b.admitted++
		return free
	}
	if e.mode == denyAll || n > e.most {
		return b.noReservation(e)
	}
	at, ok := b.behind(n, now)
	if !ok || tooFar(at, now) {
		return b.noReservation(e)
	}
	r := &Reservation{bucket: b, ok: true, shadow: e.shadow, n: n, at: at}
	b.book(r, now)
	b.admitted++
	return r
}

// noReservation counts a refusal.
func (b *TokenBucket) noReservation(e *rateEpoch) *Reservation {
	b.rejected.Add(1)
	return &Reservation{ok: e.shadow}
}

// book enters r, whose time is behind everybody's, into the schedule.
func (b *TokenBucket) book(r *Reservation, now int64) {
	if r.at > now {
		b.schedule.promise(r)
		return
	}
	r.start, r.end = b.schedule.admit(r.n, now)
	b.schedule.past = append(b.schedule.past, r)
}
