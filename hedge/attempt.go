package hedge

import (
	"context"
	"errors"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/lazyctx"
)

// attempt is one run of fn within a call.
type attempt struct {
	ctx      lazyctx.Context
	over     thole.Abandonment // between ctx and the caller's
	life     *thole.Lifetime   // of its own; nil if the caller has none
	start    time.Duration     // on the policy's clock, if a quantile is wanted
	ended    bool              // or lost
	lost     bool              // nobody waits for it any more
	rejected bool
	err      error
}

// ending says how a run of fn ended.
type ending struct {
	err      error
	success  bool // what err says
	rejected bool // by a policy further in: nobody was asked
	cutShort bool // time ran out, for whatever reason, before the answer came
	aborted  bool // by a panic or, if the value is nil, by Goexit
	value    any
}

// init sets a up as the attempt number index of c.
func (a *attempt) init(c *call, index int) {
	ctx := c.ctx
	if c.outer != nil {
		ctx, a.life = thole.WithLifetime(ctx)
	}
	if index > 0 {
		ctx = thole.WithAttempt(ctx, thole.Attempt{Number: thole.AttemptFrom(ctx).Number, Hedge: index})
	}
	a.over.Context = ctx
	a.ctx.InitCancel(&a.over)
	if c.set.est != nil {
		a.start = time.Since(c.h.base)
	}
}

// run runs fn and settles what came of it. It catches a panic, also of fn's error when asked
// what it says: there is nobody above it in this goroutine, and it belongs to the goroutine that
// called Do.
func (a *attempt) run(c *call, index int) {
	end := ending{aborted: true}
	defer func() {
		if end.aborted {
			end = ending{aborted: true, value: recover()}
		}
		c.settle(a, index, end)
	}()
	end.read(c, c.fn(&a.ctx))
	end.aborted = false
}

// read asks err what it says.
func (e *ending) read(c *call, err error) {
	e.err = err
	if err == nil {
		e.success = true
		return
	}
	e.success = thole.OutcomeOf(c.ctx, err) == thole.Success
	if e.success {
		return
	}
	e.rejected = errors.Is(err, thole.ErrRejected)
	// Other failures say nothing of how long an answer takes.
	e.cutShort = !e.rejected && c.set.est != nil &&
		(errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled))
}

// Release lets go of what the result of a needed.
func (a *attempt) Release() {
	defer a.ctx.Cancel(nil)
	a.life.End()
}

// release lets go of what a result of a would have needed. A panic or Goexit of what an edge
// wanted to be called then is counted, like that of fn itself: it is nobody's in this goroutine.
func (a *attempt) release(h *Hedge) {
	returned := false
	defer func() {
		if !returned {
			recover()
			h.panics.Add(1)
		}
	}()
	a.Release()
	returned = true
}

// giveUp says that a has lost, to what it has made as well.
func (a *attempt) giveUp(c *call, why error) {
	a.recordLost(c)
	a.over.Abandon() // before its context ends: what it did not claim by now, it does not get
	a.ctx.Cancel(why)
}

// record tells the estimator of the latency of an attempt that ended.
func (a *attempt) record(c *call, end ending) {
	est := c.set.est
	if est == nil {
		return
	}
	if end.success {
		est.Record(time.Since(c.h.base) - a.start)
	} else if end.cutShort {
		est.RecordAtLeast(time.Since(c.h.base) - a.start)
	}
}

// recordLost tells the estimator of an attempt that is given up now.
func (a *attempt) recordLost(c *call) {
	if est := c.set.est; est != nil {
		est.RecordAtLeast(time.Since(c.h.base) - a.start)
	}
}
