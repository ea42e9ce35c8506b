package tholehttp

import (
	"context"
	"errors"
	"net/http"
	"sync"

	"github.com/thole-go/thole"
)

// reply is a failing response. Policies hold it as an error, in any number of wrappings, and
// decide by the error they return whether it becomes the result of the call.
type reply struct {
	StatusError
	ctx context.Context // of the attempt: when it has ended the body cannot be read

	mu    sync.Mutex // held while the body is read, so that nobody gets hold of it meanwhile
	state replyState
}

type replyState uint8

const (
	replyOpen  replyState = iota // its body is unread
	replyKept                    // its body is in memory, and its connection free
	replyGone                    // discarded
	replyTaken                   // returned to the caller
)

// err is what the policies get, with the outcome in case it differs from the status's own.
func (r *reply) err(o thole.Outcome) error {
	if o != statusOutcome(r.StatusCode) {
		return &judged{&r.StatusError, o}
	}
	return &r.StatusError
}

// discard drains and closes the response unless it has been returned. A kept response holds
// nothing that others need, so it stays for a policy that returns it after all.
func (r *reply) discard() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == replyOpen {
		r.state = replyGone
		drain(r.Response)
	}
}

// keep frees the response's connection for an attempt that may be waiting for it.
func (r *reply) keep() {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state == replyOpen {
		r.state = replyGone // if reading panics
		r.Response.Body = keep(r.Response)
		r.state = replyKept
	}
}

// take reserves the response for the caller.
func (r *reply) take() {
	r.mu.Lock()
	r.state = replyTaken
	r.mu.Unlock()
}

// returnable reports whether the response can stand for err, the error of the whole call:
// whether its body can be read to the end.
func (r *reply) returnable(err error) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.state != replyOpen {
		return r.state == replyKept
	}
	ctxErr := r.ctx.Err()
	return ctxErr == nil || !errors.Is(err, ctxErr)
}

// reply returns the first failing response in err's tree that can be returned, or nil.
func (c *call) reply(err error) (found *reply) {
	within(err, func(one error) bool {
		s, ok := one.(*StatusError)
		if !ok {
			return false
		}
		for _, r := range c.replies {
			if s == &r.StatusError && r.returnable(err) {
				found = r
				return true
			}
		}
		return false
	})
	return found
}

// discardReplies discards all replies but one.
func (c *call) discardReplies(except *reply) {
	for _, r := range c.replies {
		if r != except {
			r.discard()
		}
	}
}

// keepReplies frees the connections that failing responses hold, before another attempt
// needs one.
func (c *call) keepReplies() {
	c.lock()
	replies := c.replies
	c.unlock()
	for _, r := range replies {
		r.keep()
	}
}

// discardResponse drains and closes a response that came too late.
func discardResponse(resp *http.Response) {
	if resp != nil {
		drain(resp)
	}
}
