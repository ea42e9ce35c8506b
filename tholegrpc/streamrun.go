package tholegrpc

import (
	"context"
	"io"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/status"
)

// The states of a streamRun.
const (
	streamOpening int32 = iota
	streamThere
	streamCut // the policies' context ended before the stream was there
)

// streamRun is one attempt at a stream, from its establishing to its end.
type streamRun struct {
	ctx     context.Context // the stream's
	release func()          // ends ctx
	state   atomic.Int32

	once  sync.Once
	err   error         // how it ended; nil after io.EOF
	ended chan struct{} // closed then
}

// newStreamRun returns a run whose context ends with caller and, until the stream is there,
// with policies, the context that the policies gave; later with that too, unless it is by a
// time limit and whole is false. Its values are those of policies.
func newStreamRun(caller, policies context.Context, whole bool) *streamRun {
	r := &streamRun{ended: make(chan struct{})}
	if whole {
		r.ctx, r.release = context.WithCancel(policies)
		return r
	}
	own, cancel := context.WithCancelCause(caller)
	r.ctx = &streamContext{own, policies}
	unlink := context.AfterFunc(policies, func() {
		r.state.CompareAndSwap(streamOpening, streamCut)
		if r.state.Load() == streamThere && policies.Err() == context.DeadlineExceeded {
			return
		}
		cancel(context.Cause(policies))
	})
	r.release = func() {
		unlink()
		cancel(nil)
	}
	return r
}

// establish says that the stream is there. It reports false if that was too late.
func (r *streamRun) establish() bool {
	return r.state.CompareAndSwap(streamOpening, streamThere) || r.state.Load() == streamThere
}

// end says how the stream ended. The first to say so is right.
func (r *streamRun) end(err error) {
	r.once.Do(func() {
		if err != io.EOF {
			r.err = err
		}
		close(r.ended)
	})
}

// wait returns how the stream ended, when it has.
func (r *streamRun) wait() error {
	select {
	case <-r.ended:
	case <-r.ctx.Done():
		// gRPC says so itself, but what is below need not be gRPC.
		r.end(status.FromContextError(r.ctx.Err()).Err())
		<-r.ended
	}
	return r.err
}

// streamContext ends as Context does, one of package context's own, and has the values of
// another, which descends from the same parent.
type streamContext struct {
	context.Context
	values context.Context
}

// Value returns what the values have, but for the key by which package context finds where a
// context ends, and why: Context answers to that with itself. By the values' answer the cause
// would be that of the policies' context, whose time limit does not concern the stream.
func (c *streamContext) Value(key any) any {
	if v := c.Context.Value(key); v == any(c.Context) {
		return v
	}
	return c.values.Value(key)
}
