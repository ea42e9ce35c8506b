package breaker

// Reconfigure puts another configuration in force and returns nil, or leaves everything as it
// is and returns what [Config.Validate] says of it.
//
// The state is kept, and with it an isolation, the probes that are out and the failures in a
// row. Counts are kept if the ratios go on to look at a span of time, or at the last calls;
// from the one to the other they begin anew. What is left of an open time is cut to the new
// MaxOpenFor, and a ramp in progress is measured by the new RampUp. The new thresholds are
// applied when the next call settles, or when one in flight is found slow.
func (b *Breaker) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	set := b.newSettings(cfg)
	now := b.now()
	b.mu.Lock()
	defer b.unlock()
	p := b.phase.Load()
	b.m.reconfigure(now, &set.Config)
	b.watch(set)
	var t *tally
	if b.m.state == Closed {
		t = p.tally.carry(now, &p.set.Config, &set.Config)
	}
	b.publish(b.newPhase(set, t))
	if f := b.flights.Load(); f != nil {
		f.again() // another SlowCall finds others slow
	}
	return nil
}
