package tholehttp

import (
	"context"
	"errors"
	"net/http"

	"github.com/thole-go/thole"
)

// reply is a failing response. Policies hold it as an error, in any number of wrappings, and
// decide by the error they return whether it becomes the result of the call.
type reply struct {
	StatusError
	call  *call
	ctx   context.Context // of the attempt: when it has ended the body cannot be read
	state replyState      // guarded by call.mu
}

type replyState uint8

const (
	replyOpen  replyState = iota // its body is unread
	replyKept                    // its body is in memory or on its way there: its connection is free
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
	if r.move(replyOpen, replyGone) {
		drain(r.Response)
	}
}

// move changes the state if it is from.
func (r *reply) move(from, to replyState) bool {
	r.call.mu.Lock()
	defer r.call.mu.Unlock()
	if r.state != from {
		return false
	}
	r.state = to
	return true
}

// keep frees the response's connection for an attempt that may be waiting for it.
func (r *reply) keep() {
	if r.move(replyOpen, replyKept) {
		r.Response.Body = keep(r.Response)
	}
}

// returnable reports whether the response can stand for err, the error of the whole call:
// whether its body can be read to the end.
func (r *reply) returnable(err error) bool {
	r.call.mu.Lock()
	state := r.state
	r.call.mu.Unlock()
	if state != replyOpen {
		return state == replyKept
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

// discardResponse drains and closes a response that came too late.
func discardResponse(resp *http.Response) {
	if resp != nil {
		drain(resp)
	}
}
