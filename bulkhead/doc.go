// Package bulkhead bounds how many calls are inside a part of the program at once, as the
// bulkheads of a ship keep the water of one leak out of the other compartments. A
// dependency that hangs then holds up its own callers and nobody else.
//
//	b := bulkhead.New(bulkhead.Config{Name: "payments", Limit: 20})
//	err := b.Do(ctx, func(ctx context.Context) error { return charge(ctx, order) })
//	if errors.Is(err, bulkhead.ErrFull) {
//		// 20 calls are inside: this one did not run.
//	}
//
// # Full
//
// Limit is exact: never more calls run, and never fewer than could. A call that finds no
// permit is refused at once with [ErrFull]; that costs no allocation and writes no memory
// that the calls inside use, so a storm of refused calls does not slow them down.
//
// # Queue
//
// With MaxWaiting set, that many callers wait for a permit, first come, first served: a
// newcomer never overtakes one who waits, and a permit that comes free is handed to the
// first in the queue. A wait ends with a permit, after MaxWait with [ErrWait], or with the
// caller's context; the error then matches [thole.ErrRejected] and the context's error.
//
// A queue smooths short bursts. It does not add capacity: if more calls come than leave, it
// fills up, and every caller waits as long as the queue is deep. Keep it short, or bound the
// wait by MaxWait.
//
// # Permits by hand
//
// Where a call is not a function, [Bulkhead.Acquire] returns the permit's release, to be
// called when the work is done. [Bulkhead.AcquireN] takes several permits at once for a
// heavy piece of work, and [Bulkhead.TryAcquire] never waits.
//
// # Results that outlive the call
//
// Where the edge put a lifetime into the context ([thole.WithLifetime]; an HTTP response
// whose body is still to be read, a stream), Do holds its permit until the lifetime ends.
//
// # Changing it live
//
// [Bulkhead.Reconfigure] changes everything while calls run. A raised limit wakes those who
// wait; a lowered one admits nobody until enough have left. [Bulkhead.Stats] tells what is
// going on. Shadow tries a limit on live traffic without refusing any.
package bulkhead
