package tholehttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/thole-go/thole"
)

// attempt is the function that the policies run: it sends the request once.
func (c *call) attempt(ctx context.Context) error {
	life := thole.LifetimeFrom(ctx)
	if life == nil { // a policy that does not pass values on
		life = &c.life
	}
	number, stale, err := c.enter(life)
	if err != nil {
		return err
	}
	var resp *http.Response
	returned := false
	defer func() {
		if !returned { // a panic or Goexit is on its way up
			c.leave(life)
			discardResponse(resp)
		}
	}()
	if stale >= 0 {
		life.Rewind(stale)
	}
	if number > 0 {
		c.keepReplies()
	}
	var outcome thole.Outcome
	resp, err = c.send(ctx, number)
	if err != nil {
		err = c.t.judge(ctx, err)
	} else {
		outcome = c.t.outcome(resp)
	}
	returned = true
	if err == nil && outcome != thole.Success {
		return c.failed(ctx, life, resp, outcome)
	}
	return c.ended(ctx, life, resp, err)
}

// enter begins an attempt, and returns how many there were before it, and what to rewind
// life to if not negative: a retry that does not know lifetimes leaves the attempt before as
// it was. An error is returned to the policies in the attempt's place.
func (c *call) enter(life *thole.Lifetime) (number, stale int, err error) {
	c.lock()
	defer c.unlock()
	switch {
	case c.over || c.won != nil:
		return 0, 0, context.Canceled
	case c.once && c.sent > 0 && c.inFlight == 0 && c.last != nil:
		return 0, 0, c.last
	case c.once && c.sent > 0:
		return 0, 0, thole.Permanent(errOnce)
	}
	number, stale = c.sent, -1
	c.sent++
	c.inFlight++
	l, known := c.lane(life)
	l.inFlight++
	if known && l.inFlight == 1 {
		stale = l.mark
	}
	return number, stale, nil
}

// lane returns the lane of life, and whether there have been attempts in it.
func (c *call) lane(life *thole.Lifetime) (*lane, bool) {
	for i := range c.lanes {
		if c.lanes[i].life == life {
			return &c.lanes[i], true
		}
	}
	if c.lanes == nil {
		c.lanes = c.firstOne[:0]
	}
	c.lanes = append(c.lanes, lane{life: life, mark: life.Mark()})
	return &c.lanes[len(c.lanes)-1], false
}

// leave ends an attempt.
func (c *call) leave(life *thole.Lifetime) {
	c.lock()
	c.depart(life)
	c.unlock()
}

// depart is leave for a holder of mu.
func (c *call) depart(life *thole.Lifetime) {
	c.inFlight--
	l, _ := c.lane(life)
	l.inFlight--
}

// send sends a copy of the request by the base.
func (c *call) send(ctx context.Context, number int) (*http.Response, error) {
	r := c.copied(ctx, number)
	if err := c.upload.attach(r); err != nil {
		return nil, err
	}
	body := r.Body
	returned := false
	defer func() {
		// A base that panics, or ends the goroutine, may have left a body of ours open; whether
		// it closed one that is the caller's own nobody can know.
		if b, ours := body.(*attemptBody); ours && !returned {
			b.Close()
		}
	}()
	resp, err := c.t.base.RoundTrip(r)
	returned = true
	switch {
	case err != nil:
		if resp != nil {
			drain(resp)
		}
		if read := failure(body); read != nil && errors.Is(err, read) {
			err = &localError{err}
		}
		return nil, err
	case resp == nil:
		return nil, &localError{errNeither}
	}
	if resp.Request == r {
		resp.Request = c.req
	}
	return resp, nil
}

// copied returns the copy of the request that the attempt sends. It and what it calls are calls of
// their own because the copying takes 300 bytes of stack, which must be free again before the base
// is called: a hedge's new goroutine would have to grow its stack otherwise, for as much as all the
// rest of the call takes (1,660 ns with it over an instant base, 760 without).
func (c *call) copied(ctx context.Context, number int) *http.Request {
	r := &c.first
	if number == 0 {
		c.copyFirst(ctx)
	} else {
		r = c.copyAgain(ctx, number)
	}
	//lint:ignore SA1019 http.Client uses it still, for its Timeout
	r.Cancel = nil // ctx ends with it
	return r
}

//go:noinline
func (c *call) copyFirst(ctx context.Context) { c.first = *c.req.WithContext(ctx) }

//go:noinline
func (c *call) copyAgain(ctx context.Context, number int) *http.Request {
	r := c.req.WithContext(&resendCtx{ctx, number})
	// Other attempts may be under way, in a base that takes the header for its own.
	r.Header = r.Header.Clone()
	return r
}

// outcome is what a response says about the server's health.
func (t *Transport) outcome(resp *http.Response) thole.Outcome {
	if t.cfg.Outcome != nil {
		return t.cfg.Outcome(resp, nil)
	}
	return statusOutcome(resp.StatusCode)
}

// ended ends an attempt that succeeded with resp or met err. Of several successes the first
// claims the call; a later one hears that it was cancelled, as it would have been a moment
// earlier. So does one that its hedge has given up: another attempt may still follow.
func (c *call) ended(ctx context.Context, life *thole.Lifetime, resp *http.Response, err error) error {
	lost := err == nil && !c.t.blocking && !thole.Claim(ctx)
	c.lock()
	c.depart(life)
	late := lost || c.over || c.won != nil
	switch {
	case err != nil && !late:
		c.last = err
	case err == nil && !late:
		c.won = resp
	}
	c.unlock()
	if err == nil && late {
		discardResponse(resp)
		return thole.Forfeit(ctx)
	}
	return err
}

// failed ends an attempt that got a failing response. The response stays as it is until the
// policies have decided what becomes of it, except where it could stand in the way of an
// attempt that goes on. Where the attempt has a lifetime of its own there may be such a one, even
// if it has not got here yet: then the end of this lifetime does not say that nobody wants the
// response, which is kept as it would be for one that has.
func (c *call) failed(ctx context.Context, life *thole.Lifetime, resp *http.Response, o thole.Outcome) error {
	r := &reply{StatusError: StatusError{resp.StatusCode, resp}, ctx: ctx}
	err := r.err(o)
	c.lock()
	c.depart(life)
	others, late := c.inFlight > 0, c.over
	if !late {
		c.replies = append(c.replies, r)
		c.last = err
	}
	c.unlock()
	switch {
	case late:
		r.discard()
	case others:
		r.keep()
	case life != &c.life:
		if !life.Adopt(r.keep) {
			r.keep()
		}
	case !life.Adopt(r.discard):
		r.discard()
	}
	return err
}
