package tholehttp

import (
	"context"
	"errors"
	"io"
	"net/http"
	"sync"

	"github.com/thole-go/thole"
)

// call is one RoundTrip. Its attempts may run side by side, and end after it is over.
type call struct {
	t      *Transport
	req    *http.Request // the caller's
	life   thole.Lifetime
	upload *upload
	once   bool

	mu       sync.Mutex
	over     bool           // the policies have returned: what still comes is discarded
	sent     int            // attempts begun
	inFlight int            // attempts not ended
	won      *http.Response // of the first attempt that succeeded
	last     error          // of the last attempt that ended without success
	replies  []*reply       // failing responses; frozen once over
	lanes    []lane
	firstOne [1]lane // the backing of lanes until it outgrows it

	inner io.ReadCloser // the body of the response that was returned
	first http.Request  // what the first attempt sends; here, as noted, to allocate it all at once
	info  thole.CallInfo
	noted thole.CallContext // the caller's context and what the policies find in it
}

// lane is a sequence of attempts that share a lifetime. A hedge makes several.
type lane struct {
	life     *thole.Lifetime
	mark     int // what was adopted before its first attempt
	inFlight int
}

func (c *call) roundTrip() (*http.Response, error) {
	finished := false
	defer func() {
		if !finished { // a panic or Goexit is on its way up
			c.close()
			c.discardReplies(nil)
			discardResponse(c.won)
			c.life.End()
		}
		c.upload.release()
	}()
	t, req := c.t, c.req
	c.upload = holdBody(req)
	c.once = !t.mayRepeat(req)
	if c.upload != nil && !c.once {
		c.once = !c.upload.prepare(req, t.cfg.replayBytes())
	}
	ctx := c.context()
	var err error
	if ctx.Err() != nil {
		err = contextError(ctx, context.Cause(ctx))
	} else {
		err = t.policy.Do(ctx, c.attempt)
	}
	resp, failed, err := c.result(err)
	if t.cfg.Fallback != nil && (failed != nil || err != nil) {
		resp, failed, err = c.fallback(resp, failed, err)
	}
	c.finish(resp, failed)
	finished = true
	return resp, err
}

// context returns the context that the policies get.
func (c *call) context() (ctx context.Context) {
	c.info = thole.CallInfo{Target: c.t.targets.of(c.req.URL), Once: c.once, Lifetime: &c.life}
	c.noted = thole.CallContext{Context: c.req.Context(), Info: &c.info}
	ctx = &c.noted
	//lint:ignore SA1019 http.Client uses it still, for its Timeout
	if cancel := c.req.Cancel; cancel != nil {
		ctx = watch(ctx, cancel, &c.life)
	}
	return ctx
}

// close ends the acceptance of results.
func (c *call) close() {
	c.lock()
	c.over = true
	c.unlock()
}

// lock takes mu, unless the policies promise that attempts follow one another and end before they
// return: then there is nobody to lock out, three times a call (40 ns).
func (c *call) lock() {
	if !c.t.blocking {
		c.mu.Lock()
	}
}

func (c *call) unlock() {
	if !c.t.blocking {
		c.mu.Unlock()
	}
}

// result turns the policies' error into the outcome of the call: a response, which is also
// given as a reply if it is a failing one, or an error.
func (c *call) result(err error) (*http.Response, *reply, error) {
	c.close()
	if err == nil && c.won != nil {
		return c.won, nil, nil
	}
	if err == nil {
		// A policy of others that made light of what the attempts came to.
		if err = c.last; err == nil {
			err = errNotRun
		}
	}
	if c.won != nil {
		discardResponse(c.won)
		c.won = nil
	}
	if r := c.reply(err); r != nil {
		return r.Response, r, nil
	}
	return nil, nil, outward(err)
}

// fallback asks the Fallback for another result.
func (c *call) fallback(resp *http.Response, failed *reply, err error) (*http.Response, *reply, error) {
	given := err
	if failed != nil {
		given = &failed.StatusError
	}
	req := c.upload.forFallback(c.req)
	other, otherErr := c.t.cfg.Fallback(req, given)
	if otherErr != nil && other != nil {
		if other != resp {
			drain(other)
		}
		other = nil
	}
	switch {
	case otherErr != nil && failed != nil && errors.Is(otherErr, given), otherErr == nil && other == nil,
		otherErr == nil && other == resp:
		return resp, failed, err
	case otherErr != nil:
		return nil, nil, otherErr
	}
	if other.Request == req {
		other.Request = c.req
	}
	return other, nil, nil
}

// finish discards every response but the one that is returned, which is failed's, the
// winning attempt's, or a stranger, and ends the lifetime or leaves that to its body.
func (c *call) finish(resp *http.Response, failed *reply) {
	if failed != nil {
		failed.take()
	}
	c.discardReplies(failed)
	if failed == nil && c.won == nil {
		c.life.End()
		return
	}
	c.guard(resp)
}
