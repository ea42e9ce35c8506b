package bulkhead

import (
	"context"
	"time"
)

// refuseOrWait is for a caller that found no n permits free, or found others waiting. It
// returns how many it then holds: n, or none if the call is shadowed.
func (b *Bulkhead) refuseOrWait(ctx context.Context, n int64) (held int64, err error) {
	s := b.settings.Load()
	switch {
	case s.Shadow:
		b.shadowed.Add(1)
		return 0, nil
	case n > b.state.load().limit():
		return 0, b.refuseWeight(n)
	case b.full.Load():
		// Without the lock, so that refused callers do not stand in the way of those inside.
		// It is right: at the time of this look the queue was full, or there is none.
		return 0, s.full
	}
	done := ctx.Done()
	w, held, err := b.join(n)
	if w == nil {
		return held, err
	}
	var v verdict
	if done == nil {
		v = <-w.ready
	} else {
		select {
		case v = <-w.ready:
		case <-done:
			v = b.quit(w)
		}
	}
	if v != 0 {
		b.spare.Store(w)
	}
	if done != nil && ctx.Err() != nil {
		return 0, b.endWait(ctx, v, n)
	}
	return b.conclude(v, n)
}

// join puts a caller into the queue, unless there is no need to or no place: then w is nil
// and the other results are those of the call.
func (b *Bulkhead) join(n int64) (w *waiter, held int64, err error) {
	w = b.spare.Swap(nil)
	if w == nil {
		w = &waiter{ready: make(chan verdict, 1)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	// Reconfigure may have had the lock since the caller looked.
	s := b.settings.Load()
	switch {
	case s.Shadow:
		b.shadowed.Add(1)
		return nil, 0, nil
	case n > int64(s.Limit):
		return nil, 0, b.refuseWeight(n)
	case int64(b.queue.length) >= s.places:
		if b.state.enter(n) {
			return nil, n, nil
		}
		return nil, 0, s.full
	case b.state.enterOrFlag(n):
		return nil, n, nil
	}
	b.queue.push(w, n)
	b.noteLength()
	b.queued++
	if s.MaxWait > 0 {
		w.since = time.Since(b.base)
		if b.timer == nil {
			b.arm(s.MaxWait - (w.since - b.queue.head.since))
		}
	}
	return w, 0, nil
}

// noteLength is to be called when the length of the queue, or what it may be, has changed.
func (b *Bulkhead) noteLength() {
	if full := int64(b.queue.length) >= b.settings.Load().places; full != b.full.Load() {
		b.full.Store(full)
	}
}

// quit takes a caller whose context ended out of the queue. If it had left it already, quit
// returns the verdict, which is then in the channel; else 0, and w is not to be used again.
func (b *Bulkhead) quit(w *waiter) verdict {
	b.mu.Lock()
	defer b.mu.Unlock()
	if !w.queued {
		return <-w.ready
	}
	b.queue.remove(w)
	// Those behind a caller that needed many permits may fit now.
	b.serve()
	b.tell()
	return 0
}

// endWait is the end of a wait for n permits by a context, whatever else it was.
func (b *Bulkhead) endWait(ctx context.Context, v verdict, n int64) error {
	if v == admitted {
		b.release(n)
	}
	b.cancelled.Add(1)
	return endedWait(ctx, b.settings.Load().Name)
}

// conclude turns a verdict into the results of the call.
func (b *Bulkhead) conclude(v verdict, n int64) (held int64, err error) {
	switch v {
	case admitted:
		return n, nil
	case shadowed:
		b.shadowed.Add(1)
		return 0, nil
	case tooLong:
		b.waitedTooLong.Add(1)
		return 0, b.settings.Load().wait
	default:
		return 0, b.refuseWeight(n)
	}
}

func (b *Bulkhead) refuseWeight(n int64) error {
	b.tooHeavy.Add(1)
	return wrongWeight(n, b.state.load().limit(), b.settings.Load().Name)
}

// release gives n permits back, and hands them on if callers wait.
func (b *Bulkhead) release(n int64) {
	if b.state.leave(n).hasWaiters() {
		b.handOn()
	}
}

// handOn gives free permits to those who wait.
func (b *Bulkhead) handOn() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.serve()
	b.tell()
}

// serve lets in all waiters that fit, from the first on, and sees to it that whoever looks
// without the lock sees the queue as it is. The caller holds the lock, and must call tell when
// it has done all it has to do.
func (b *Bulkhead) serve() {
	for w := b.queue.head; w != nil && b.state.load().fits(w.n); w = b.queue.head {
		n := w.n
		b.dismiss(w, admitted)
		b.state.hand(n, b.queue.head != nil)
	}
	b.noteLength()
	if b.queue.head == nil {
		// A waiter that was removed without permits leaves the bit behind.
		if b.state.load().hasWaiters() {
			b.state.unflag()
		}
		b.disarm()
	}
}

// dismiss takes w out of the queue. Its caller learns of it by tell.
func (b *Bulkhead) dismiss(w *waiter, v verdict) {
	b.queue.remove(w)
	b.verdicts = append(b.verdicts, pending{w.ready, v})
}

// tell wakes those who were dismissed. It comes last under the lock, so that a caller that
// comes back at once finds everything settled. It never blocks: each channel has room.
func (b *Bulkhead) tell() {
	for i, p := range b.verdicts {
		p.ready <- p.verdict
		b.verdicts[i] = pending{}
	}
	b.verdicts = b.verdicts[:0]
	if cap(b.verdicts) > 64 { // many were told at once, once
		b.verdicts = nil
	}
}

// expire ends the waits that have lasted for MaxWait.
func (b *Bulkhead) expire() {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.dismissLate()
	b.tell()
}

// dismissLate lets in who fits, dismisses those whose time is over, and sets the timer for
// the next. The caller holds the lock.
//
// MaxWait is the same for all, so the first in the queue is always the first to go, and one
// timer does for all. It isn't set anew when the first in the queue leaves: it runs
// early, finds nobody late, and is set for who is the first by then.
func (b *Bulkhead) dismissLate() {
	b.disarm()
	b.serve()
	maxWait := b.settings.Load().MaxWait
	if maxWait == 0 {
		return
	}
	now := time.Since(b.base)
	for w := b.queue.head; w != nil; w = b.queue.head {
		if left := maxWait - (now - w.since); left > 0 {
			b.arm(left)
			return
		}
		b.dismiss(w, tooLong)
		// Those behind a caller that needed many permits may fit now.
		b.serve()
	}
}

// arm sets the timer, which must not be set. A new one each time: a timer belongs to the
// synctest bubble that it was made in, and a bulkhead may outlive that.
func (b *Bulkhead) arm(d time.Duration) { b.timer = time.AfterFunc(d, b.expire) }

// disarm stops the timer. If it has run already its expire is yet to come and finds nobody late.
func (b *Bulkhead) disarm() {
	if b.timer != nil {
		b.timer.Stop()
		b.timer = nil
	}
}
