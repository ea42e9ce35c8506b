package bulkhead

import "time"

// verdict is how a wait ended.
type verdict int8

const (
	admitted verdict = iota + 1 // the permits are the caller's
	tooLong                     // MaxWait is over
	tooHeavy                    // the limit fell below the caller's weight
	shadowed                    // Shadow was switched on: go, without permits
)

// waiter is a place in the queue. It is used again for another caller once it has left the
// queue; which caller it stands for is told by its channel, which is never used again. (Nor
// could it be: a channel made in a synctest bubble is of no use outside it.)
type waiter struct {
	prev, next *waiter
	ready      chan verdict // has room for the one verdict
	n          int64
	since      time.Duration // if there is a MaxWait
}

// pending is a verdict that its caller is still to be told.
type pending struct {
	ready   chan verdict
	verdict verdict
}

// queue is a FIFO of waiters that can be left from the middle. Its owner holds a lock.
type queue struct {
	head, tail *waiter
	length     int
	spare      *waiter // linked by next
	spares     int
}

// maxSpares bounds the places that are kept for later callers.
const maxSpares = 64

// push adds a caller at the end.
func (q *queue) push(ready chan verdict, n int64) *waiter {
	w := q.spare
	if w != nil {
		q.spare, w.next = w.next, nil
		q.spares--
	} else {
		w = new(waiter)
	}
	w.ready, w.n = ready, n
	if q.tail == nil {
		q.head = w
	} else {
		w.prev, q.tail.next = q.tail, w
	}
	q.tail = w
	q.length++
	return w
}

// remove takes w out, and returns the channel on which its caller waits.
func (q *queue) remove(w *waiter) chan verdict {
	if w.prev == nil {
		q.head = w.next
	} else {
		w.prev.next = w.next
	}
	if w.next == nil {
		q.tail = w.prev
	} else {
		w.next.prev = w.prev
	}
	q.length--
	ready := w.ready
	*w = waiter{}
	if q.spares < maxSpares {
		w.next, q.spare = q.spare, w
		q.spares++
	}
	return ready
}
