package hedge

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"
	"sync"
	"time"

	"github.com/thole-go/thole"
)

// grace is how long Do goes on listening when the caller's context has ended. An fn that
// obeys its context returns well within it, and its own error says more than the context's;
// and an fn that was just about to succeed has succeeded.
const grace = 500 * time.Microsecond

// call is one call of Do. It lives as long as the last of its attempts.
type call struct {
	h     *Hedge
	set   *settings
	ctx   context.Context
	fn    func(context.Context) error
	outer *thole.Lifetime
	delay time.Duration // 0: no hedge
	next  func()        // startNext, as a value: goroutine and timer share the allocation

	mu      sync.Mutex
	started int
	running int
	closed  bool          // no attempt starts any more
	surplus bool          // the next call of next is one too many
	decided bool          // the result is known
	ready   bool          // and all is done that must be before Do returns
	wake    chan struct{} // closed when ready; made only if Do has to wait
	timer   *time.Timer

	winner *attempt // of a success
	lead   *attempt // of a failure: the one whose result is returned
	abort  ending   // the panic or Goexit that ended the call, if that did
	gaveUp bool     // the caller's context ended it

	first  attempt
	hedges []*attempt
}

// startNext starts the next attempt, in the goroutine it is called in. The first call starts
// the first attempt, the others, which are the timer's, the hedges.
func (c *call) startNext() {
	c.mu.Lock()
	index := c.started
	if index == 0 {
		if c.decided { // the caller gave up before this goroutine had its turn
			c.mu.Unlock()
			return
		}
		c.started, c.running = 1, 1
		if c.timer != nil && !c.closed {
			// It began late, on a machine that is busy, and has all of the delay all the same. If
			// the timer has fired, be it that this is its call, another one is on its way already.
			c.surplus = !c.timer.Reset(c.delay)
		}
		c.first.init(c, 0)
		c.mu.Unlock()
		c.first.run(c, 0)
		return
	}
	if c.surplus {
		c.surplus = false
		c.mu.Unlock()
		return
	}
	if !c.mayHedge() {
		c.mu.Unlock()
		return
	}
	c.started++
	c.running++
	a := new(attempt)
	a.init(c, index)
	c.hedges = append(c.hedges, a)
	if index < c.set.MaxHedges {
		c.timer.Reset(c.delay)
	}
	c.mu.Unlock()
	c.h.hedges.Add(1)
	a.run(c, index)
}

// mayHedge reports whether another attempt may start, and has taken its token then. It
// needs mu.
func (c *call) mayHedge() bool {
	if c.decided || c.closed || c.ctx.Err() != nil {
		return false
	}
	if !c.set.budget.Withdraw() {
		c.h.refused.Add(1)
		c.closed = true
		return false
	}
	return true
}

// settle takes what came of an attempt.
func (c *call) settle(a *attempt, index int, end ending) {
	if end.rejected && index > 0 {
		c.set.budget.Refund() // nobody was asked
	}
	if c.outer == nil {
		a.ctx.Cancel(nil) // no result outlives it
	}

	c.mu.Lock()
	if !a.lost {
		a.ended = true
		c.running--
	}
	if a.lost || c.decided {
		c.mu.Unlock()
		if end.aborted {
			c.h.panics.Add(1)
		}
		a.release(c.h)
		return
	}
	c.closed = c.closed || end.rejected
	switch {
	case end.aborted:
		c.abort = end
	case end.success:
		a.err = end.err
		c.winner = a
	default:
		a.err, a.rejected = end.err, end.rejected
		if c.running > 0 {
			c.mu.Unlock()
			a.record(c, end)
			a.release(c.h)
			return
		}
		c.lead = c.leader()
	}
	c.decided = true
	lost := c.losers()
	if c.timer != nil {
		c.timer.Stop()
	}
	if c.started == 1 && c.set.est == nil && !end.aborted {
		c.wakeCaller() // all is done; to take the lock once more costs 15 ns of 600
		c.mu.Unlock()
		return
	}
	c.mu.Unlock()
	defer func() { // even if a release ends the goroutine
		c.mu.Lock()
		c.wakeCaller()
		c.mu.Unlock()
	}()

	a.record(c, end)
	for _, l := range lost {
		l.giveUp(c, errLost)
	}
	if end.success && index > 0 {
		c.h.wins.Add(1)
	}
	if a != c.winner && a != c.lead {
		a.release(c.h)
	}
}

// wakeCaller lets Do return. It needs mu.
func (c *call) wakeCaller() {
	c.ready = true
	if c.wake != nil {
		close(c.wake)
	}
}

// leader returns the attempt whose error failure leads with: the first that was not
// rejected. It needs mu, and all attempts to have ended that are not lost.
func (c *call) leader() *attempt {
	for _, a := range c.attempts() {
		if !a.lost && !a.rejected {
			return a
		}
	}
	if c.first.lost {
		return nil
	}
	return &c.first
}

// losers returns the attempts that are running. It needs mu.
func (c *call) losers() []*attempt {
	if c.running == 0 {
		return nil
	}
	var lost []*attempt
	for _, a := range c.attempts() {
		if !a.ended {
			lost = append(lost, a)
		}
	}
	return lost
}

// attempts returns those that were started, in order. It needs mu.
func (c *call) attempts() []*attempt {
	return append([]*attempt{&c.first}, c.hedges...)
}

// wait returns when the result is known.
func (c *call) wait() {
	// Give the attempt a chance to be done at once: a call that never waits needs neither
	// channel nor timer, which cost two allocations and more than half of the time.
	runtime.Gosched()
	c.mu.Lock()
	if c.ready {
		c.mu.Unlock()
		return
	}
	c.wake = make(chan struct{})
	if c.delay > 0 {
		c.timer = time.AfterFunc(c.delay, c.next)
	}
	c.mu.Unlock()
	select {
	case <-c.wake:
	case <-c.ctx.Done():
		c.leave()
	}
}

// leave ends a call whose caller has given up.
func (c *call) leave() {
	c.mu.Lock()
	c.closed, c.gaveUp = true, true
	if c.timer != nil {
		c.timer.Stop()
	}
	c.mu.Unlock()

	last := time.NewTimer(grace)
	defer last.Stop()
	select {
	case <-c.wake:
		return
	case <-last.C:
	}

	c.mu.Lock()
	if c.decided {
		c.mu.Unlock()
		<-c.wake
		return
	}
	// One that has claimed its call has succeeded: what remains is to hear of it.
	lost := slices.DeleteFunc(c.losers(), func(a *attempt) bool { return !a.over.Abandon() })
	for _, a := range lost {
		a.lost, a.ended = true, true
	}
	c.running -= len(lost)
	succeeding := c.running > 0
	c.decided = !succeeding
	c.mu.Unlock()
	cause := context.Cause(c.ctx)
	for _, a := range lost {
		a.giveUp(c, cause)
	}
	if succeeding {
		<-c.wake
	}
}

// result returns what Do returns, or leaves as the attempt did that panicked.
func (c *call) result() error {
	if c.abort.aborted {
		if c.abort.value == nil {
			runtime.Goexit()
		}
		panic(c.abort.value)
	}
	if c.winner != nil {
		c.handOver(c.winner)
		return c.winner.err
	}
	if c.lead != nil {
		c.handOver(c.lead)
	}
	return c.failure()
}

// failure returns the error of a call without a winner.
func (c *call) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if !c.gaveUp {
		return failure(c.ctx, c.set.Name, c.errs())
	}
	if c.started == 0 {
		return fmt.Errorf("%w: %w", errNotStarted, c.ctx.Err())
	}
	// What only repeats the context's error adds nothing to it.
	errs := slices.DeleteFunc(c.errs(), func(err error) bool { return err == c.ctx.Err() })
	err := failure(c.ctx, c.set.Name, errs)
	if (c.lead == nil || !c.lead.rejected) && errors.Is(err, thole.ErrRejected) {
		err = nil // it would say that nothing ran, but another attempt did or still does
	}
	return abandoned(c.ctx, err)
}

// errs returns the errors of the attempts, in order. It needs mu.
func (c *call) errs() []error {
	var errs []error
	for _, a := range c.attempts() {
		errs = append(errs, a.err)
	}
	return errs
}

// handOver lets the caller's lifetime hold what a's result needs, if it has one.
func (c *call) handOver(a *attempt) {
	if c.outer == nil || a.life == nil {
		return
	}
	if !c.outer.AdoptReleaser(a) {
		a.Release()
	}
}
