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

// waiter is a caller that waits, or can be used for a later one.
//
// Its channel is used again as well (a new one is a tenth of what a wait costs), but only as
// long as somebody has been waiting all the time: a channel made in a synctest bubble is of no
// use outside it, and no bubble ends before its waiters have gone. Nor is that of a waiter who has
// given up: a bubble's waiter may have come and gone while somebody outside waits.
type waiter struct {
	prev, next *waiter
	queued     bool
	ready      chan verdict // has room for the one verdict
	era        uint64       // of the queue that ready is good for; 0: any
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
	era        uint64 // how often it began to fill
}

// push adds w, a caller for n permits, at the end.
func (q *queue) push(w *waiter, n int64) {
	if q.head == nil {
		q.era++
	}
	if w.era != 0 && w.era != q.era {
		w.ready = make(chan verdict, 1)
	}
	w.queued, w.era, w.n = true, q.era, n
	if q.tail == nil {
		q.head = w
	} else {
		w.prev, q.tail.next = q.tail, w
	}
	q.tail = w
	q.length++
}

// remove takes w out.
func (q *queue) remove(w *waiter) {
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
	w.prev, w.next, w.queued = nil, nil, false
}
