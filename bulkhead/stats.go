package bulkhead

import "github.com/thole-go/thole"

// Stats is a snapshot of a bulkhead. The first three belong to one moment each; the others
// count from New on.
//
// Calls that pass without waiting, and calls refused with [ErrFull], are not counted: to
// count would cost more than to decide, and the refused would get in the way of those inside. The edge
// that sees the error can count by its reason.
type Stats struct {
	Limit   int // permits there are
	InUse   int // permits in use; more than Limit for a while after that was lowered
	Waiting int // callers in the queue

	Queued        int // callers that had to wait, however that ended
	WaitedTooLong int // refused with ErrWait
	Cancelled     int // waits ended by the caller's context
	TooHeavy      int // refused with ErrWeight
	Shadowed      int // calls that found no permit and were let through by Shadow
	ReleasedTwice int // calls of a release that had been called before: mistakes in the program
}

// Stats returns a snapshot.
func (b *Bulkhead) Stats() Stats {
	b.mu.Lock()
	w, waiting, queued := b.state.load(), b.queue.length, b.queued
	b.mu.Unlock()
	return Stats{
		Limit:         int(w.limit()),
		InUse:         int(w.inUse()),
		Waiting:       waiting,
		Queued:        queued,
		WaitedTooLong: int(b.waitedTooLong.Load()),
		Cancelled:     int(b.cancelled.Load()),
		TooHeavy:      int(b.tooHeavy.Load()),
		Shadowed:      int(b.shadowed.Load()),
		ReleasedTwice: int(b.twice.Load()),
	}
}

// InUse reports whether a permit is out or a caller waits. It costs one atomic load.
func (b *Bulkhead) InUse() bool { return b.state.load()&lowerHalf != 0 }

// Describe tells the configuration in force.
func (b *Bulkhead) Describe() thole.Description { return b.settings.Load().describe() }

// String returns "bulkhead", or "bulkhead[name]".
func (b *Bulkhead) String() string { return b.Describe().String() }
