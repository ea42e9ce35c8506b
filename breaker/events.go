package breaker

// unlock publishes what the machine has become, gives up the lock and has the changes told.
func (b *Breaker) unlock() {
	if p := b.phase.Load(); p.gen != b.m.gen {
		var t *tally
		if b.m.state == Closed {
			t = newTally(&p.set.Config)
		}
		b.publish(b.newPhase(p.set, t))
	}
	tell := len(b.m.changes) > 0 && !b.telling
	if tell {
		b.telling = true
	}
	b.mu.Unlock()
	if tell {
		b.tell()
	}
}

// publish makes p what calls see. The lock is held.
func (b *Breaker) publish(p *phase) {
	if f := b.flights.Load(); f != nil && p.gen != b.phase.Load().gen {
		f.slow = 0 // the slow ones were of the generation that has ended
	}
	b.phase.Store(p)
}

// tell calls the hook for each change, in order. One goroutine does so at a time; who brings
// about a change meanwhile, the hook itself included, leaves it to that one.
func (b *Breaker) tell() {
	for {
		b.mu.Lock()
		if len(b.m.changes) == 0 {
			b.telling = false
			b.mu.Unlock()
			return
		}
		c := b.m.changes[0]
		b.m.changes = append(b.m.changes[:0], b.m.changes[1:]...)
		hook := b.phase.Load().set.OnStateChange
		b.mu.Unlock()
		if hook != nil {
			b.call(hook, c)
		}
	}
}

// call calls the hook. If that doesn't return, the rest is told before the panic goes on.
func (b *Breaker) call(hook func(from, to State), c change) {
	returned := false
	defer func() {
		if !returned {
			b.tell()
		}
	}()
	hook(c.from, c.to)
	returned = true
}
