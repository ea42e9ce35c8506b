package bulkhead

import "time"

// Reconfigure puts another configuration into force. If it is invalid, Reconfigure returns
// what [Config.Validate] says and changes nothing.
//
// Calls that are inside stay there. Under a lowered Limit nobody is let in until enough have
// left; a raised one lets waiters in at once, in their order. A changed MaxWait holds for those
// who wait already, from when they began to, or from now on if there was none. A lowered MaxWaiting sends nobody away who has a
// place. A switched-on Shadow lets all who wait go on without a permit; when it is switched
// off, calls that got in that way are still inside, and count for nothing.
func (b *Bulkhead) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	timed := b.settings.Load().MaxWait > 0
	b.settings.Store(newSettings(cfg))
	b.state.resize(int64(cfg.Limit))
	now := time.Since(b.base)
	var next *waiter
	for w := b.queue.head; w != nil; w = next {
		next = w.next
		switch {
		case cfg.Shadow:
			b.dismiss(w, shadowed)
		case w.n > int64(cfg.Limit):
			b.dismiss(w, tooHeavy)
		case !timed:
			w.since = now
		}
	}
	b.dismissLate()
	b.tell()
	return nil
}
