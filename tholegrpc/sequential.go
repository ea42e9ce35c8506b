package tholegrpc

import (
	"context"
	"slices"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/thole-go/thole"
)

// sequential is a call whose attempts follow one another, and end before the policies
// return: they promised that. So all attempts may write to what the caller gave, and the
// frame is used again by other calls.
type sequential struct {
	c  *client
	do func(context.Context) error // attempt, through the policies

	n       *notes
	req     any
	reply   any
	cc      *grpc.ClientConn
	invoker grpc.UnaryInvoker
	opts    []grpc.CallOption
	own     *belongings // nil if the method may not be repeated

	sent int
	won  bool
	last error
}

// belongings are what a call that may be repeated leaves in the hands of gRPC and other
// interceptors; of another it is the context alone. They may keep it, so it is not used again.
type belongings struct {
	ctx     thole.CallContext
	trailer metadata.MD        // for policies
	opts    [2]grpc.CallOption // the backing of the call's options, if they are few
}

func newSequential(c *client) *sequential {
	s := &sequential{c: c}
	s.do = bind(c.policy, s.attempt)
	return s
}

// bind returns a function that runs fn through p, by one call at a time: a chain can be spared
// the frame that it would take from a pool for each call.
func bind(p thole.Policy, fn func(context.Context) error) func(context.Context) error {
	if b, ok := p.(interface {
		Bind(func(context.Context) error) func(context.Context) error
	}); ok {
		return b.Bind(fn)
	}
	return func(ctx context.Context) error { return p.Do(ctx, fn) }
}

func (c *client) doSequential(ctx context.Context, n *notes, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts []grpc.CallOption) error {
	s := c.sequential.Get().(*sequential)
	s.n, s.req, s.reply, s.cc, s.invoker, s.opts = n, req, reply, cc, invoker, opts
	var inner *thole.CallContext
	if !c.mayRepeat(n) {
		once := n.context(ctx, true)
		inner = &once
	} else {
		own := &belongings{ctx: n.context(ctx, false)}
		inner, s.own = &own.ctx, own
		s.opts = slices.Clip(append(append(own.opts[:0], opts...), grpc.Trailer(&own.trailer)))
	}
	err := s.do(inner)
	if err == nil && !s.won {
		err = swallowed(s.last)
	}
	if err != nil {
		err = outward(ctx, err)
	}
	// After a panic or Goexit the frame is left to the garbage collector.
	s.req, s.reply, s.cc, s.invoker, s.opts, s.own, s.last = nil, nil, nil, nil, nil, nil, nil
	s.sent, s.won = 0, false
	c.sequential.Put(s)
	return err
}

// attempt is what the policies run.
func (s *sequential) attempt(ctx context.Context) error {
	if s.sent > 0 {
		if err := s.again(); err != nil {
			return err
		}
		ctx = s.c.withAttempt(ctx, s.sent)
	}
	s.sent++
	err := s.invoker(ctx, s.n.method, s.req, s.reply, s.cc, s.opts...)
	if err == nil {
		s.won = true
		return nil
	}
	var trailer metadata.MD
	if s.own != nil {
		trailer = s.own.trailer
	}
	s.last = s.c.judge(ctx, s.n.method, err, trailer, nil)
	return s.last
}

// again prepares for another attempt, or returns what stands in its way.
func (s *sequential) again() error {
	once := s.own == nil || !thole.Repeatable(s.own.ctx.Context) // the caller may say so too
	switch {
	case s.won:
		return errAgain
	case once && s.last != nil:
		return s.last
	case once:
		return thole.Permanent(errOnce)
	}
	// An attempt that gets no further than this side leaves them as they are.
	for _, o := range s.opts {
		switch o := o.(type) {
		case grpc.HeaderCallOption:
			*o.HeaderAddr = nil
		case grpc.TrailerCallOption:
			*o.TrailerAddr = nil
		case grpc.PeerCallOption:
			*o.PeerAddr = peer.Peer{}
		}
	}
	return nil
}
