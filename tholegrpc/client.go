package tholegrpc

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"

	"github.com/thole-go/thole"
)

// DialOptions returns the options for a client whose calls, unary and streams, go through p.
// They also switch gRPC's own retries off, so that attempts do not multiply; transparent
// retries, of what no server has seen, remain.
func DialOptions(p thole.Policy, opts ...Option) []grpc.DialOption {
	opts = append(append([]Option{}, opts...), WithNativeRetriesOff())
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(UnaryClientInterceptor(p, opts...)),
		grpc.WithChainStreamInterceptor(StreamClientInterceptor(p, opts...)),
		grpc.WithDisableRetry(),
	}
}

// UnaryClientInterceptor returns an interceptor that makes unary calls through p. A nil p is
// no policy. See the package's documentation for what policies see, what is repeated and what
// the caller gets.
func UnaryClientInterceptor(p thole.Policy, opts ...Option) grpc.UnaryClientInterceptor {
	return newClient(p, opts).unary
}

// client is what the interceptors of one policy share.
type client struct {
	*config
	policy     thole.Policy
	blocking   bool // runs do not overlap, and none outlives Do
	sideBySide bool // a hedge is among them
	warn       bool // of gRPC's own retries
	notes      notebook
	sequential sync.Pool
}

func newClient(p thole.Policy, opts []Option) *client {
	if p == nil {
		p = thole.Chain()
	}
	c := &client{config: newConfig(opts), policy: p, blocking: thole.Blocking(p)}
	c.warn = !c.nativeOff && within(p, runsAgain)
	c.sideBySide = within(p, sideBySide)
	c.notes.cfg = c.config
	c.sequential.New = func() any { return newSequential(c) }
	return c
}

func (c *client) unary(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
	n := c.notes.of(dialTarget(cc), method)
	if n.exempt {
		return invoker(ctx, method, req, reply, cc, opts...)
	}
	var err error
	opts, finish := takeOnFinish(opts)
	switch {
	case c.expired(ctx):
		err = &Error{err: ErrExpired}
	case c.blocking:
		err = c.doSequential(ctx, n, req, reply, cc, invoker, opts)
	default:
		err = c.doParallel(ctx, n, req, reply, cc, invoker, opts)
	}
	for _, f := range finish {
		f(err)
	}
	if c.warn && !n.checked.Load() {
		n.checkNative(cc)
	}
	return err
}

// mayRepeat reports whether the call may be made more than once, as far as its method says.
func (c *client) mayRepeat(n *notes) bool {
	return n.idempotent || c.repeatable != nil && c.repeatable(n.method)
}

// expired reports whether ctx leaves too little time.
func (c *config) expired(ctx context.Context) bool {
	if c.floor == 0 {
		return false
	}
	d, ok := ctx.Deadline()
	return ok && time.Until(d) < c.floor && ctx.Err() == nil
}

// takeOnFinish takes the callbacks for the end of the call out of opts: gRPC would make them
// at the end of each attempt. As in gRPC, rest has no room for more: interceptors further in that
// append to it, for calls they make side by side, would write to one place.
func takeOnFinish(opts []grpc.CallOption) (rest []grpc.CallOption, finish []func(error)) {
	for i, o := range opts {
		f, ok := o.(grpc.OnFinishCallOption)
		switch {
		case ok && finish == nil:
			rest = append([]grpc.CallOption{}, opts[:i]...)
			fallthrough
		case ok:
			finish = append(finish, f.OnFinish)
		case finish != nil:
			rest = append(rest, o)
		}
	}
	if finish == nil {
		return opts, nil
	}
	return slices.Clip(rest), finish
}

// swallowed is the error of a call which the policies say went well though no attempt did.
func swallowed(last error) error {
	if last != nil {
		return last
	}
	return errNotRun
}

var errAgain = thole.Permanent(errors.New("tholegrpc: call is over"))
