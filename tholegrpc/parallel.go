package tholegrpc

import (
	"context"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"

	"github.com/thole-go/thole"
)

// parallel is a call whose attempts may run side by side, and end after it is over. Each has
// its own reply, header, trailer and peer; the caller's are filled, from those of the
// attempt that is returned, by the caller's own goroutine.
type parallel struct {
	c       *client
	n       *notes
	req     any
	reply   any
	cc      *grpc.ClientConn
	invoker grpc.UnaryInvoker
	opts    []grpc.CallOption
	once    bool

	mu   sync.Mutex
	over bool // the policies have returned: what still comes is dropped
	sent int
	won  *attempt
	last error

	ctx   thole.CallContext // here, as first, to allocate it all at once
	first attempt
}

// attempt is what one attempt of a parallel call brings.
type attempt struct {
	reply   any
	pushed  metadata.MD // the trailer, for policies
	headers []pair[metadata.MD]
	peers   []pair[peer.Peer]
	opts    []grpc.CallOption
}

// pair is a variable of the caller's, and what one attempt has in its stead.
type pair[T any] struct {
	callers *T
	own     *T
}

func (c *client) doParallel(ctx context.Context, n *notes, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts []grpc.CallOption) error {
	p := &parallel{c: c, n: n, req: req, reply: reply, cc: cc, invoker: invoker, opts: opts}
	p.once = !c.mayRepeat(n) || !thole.Repeatable(ctx) || !clonable(reply)
	p.ctx = n.context(ctx, p.once)
	returned := false
	defer func() {
		if !returned { // a panic or Goexit is on its way up
			p.close()
		}
	}()
	err := c.policy.Do(&p.ctx, p.attempt)
	returned = true
	p.close()
	if err == nil && p.won == nil {
		err = swallowed(p.last)
	}
	if err == nil {
		p.deliver(p.won)
		return nil
	}
	if j, ok := judged(err); ok {
		p.deliver(j.origin())
	}
	return outward(ctx, err)
}

// close ends the acceptance of results.
func (p *parallel) close() {
	p.mu.Lock()
	p.over = true
	p.mu.Unlock()
}

// attempt is what the policies run.
func (p *parallel) attempt(ctx context.Context) error {
	before, a, err := p.enter()
	if err != nil {
		return err
	}
	err = p.invoker(p.c.withAttempt(ctx, before), p.n.method, p.req, a.reply, p.cc, a.opts...)
	seen := err
	if err != nil {
		seen = p.c.judge(ctx, p.n.method, err, a.pushed, a)
	}
	lost := err == nil && !thole.Claim(ctx) // another attempt may still follow
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case lost || p.over || p.won != nil:
		if err == nil {
			return thole.Forfeit(ctx)
		}
	case err == nil:
		p.won = a
	default:
		p.last = seen
	}
	return seen
}

// enter begins an attempt, and returns how many there were before it. An error is for the
// policies, in the attempt's place.
func (p *parallel) enter() (before int, a *attempt, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	switch {
	case p.over || p.won != nil:
		return 0, nil, context.Canceled
	case p.once && p.sent > 0 && p.last != nil:
		return 0, nil, p.last
	case p.once && p.sent > 0:
		return 0, nil, thole.Permanent(errOnce)
	}
	before = p.sent
	p.sent++
	a = &p.first
	if before > 0 {
		a = new(attempt)
	}
	if p.once {
		a.reply, a.opts = p.reply, p.opts
	} else {
		p.equip(a)
	}
	return before, a, nil
}

// equip gives an attempt results of its own. What it does not get it leaves to the caller as
// it was, as gRPC does.
func (p *parallel) equip(a *attempt) {
	a.reply = newLike(p.reply)
	a.opts = make([]grpc.CallOption, 0, len(p.opts)+1)
	md := func(callers *metadata.MD) *metadata.MD {
		own := *callers
		a.headers = append(a.headers, pair[metadata.MD]{callers, &own})
		return &own
	}
	for _, o := range p.opts {
		switch opt := o.(type) {
		case grpc.HeaderCallOption:
			o = grpc.Header(md(opt.HeaderAddr))
		case grpc.TrailerCallOption:
			o = grpc.Trailer(md(opt.TrailerAddr))
		case grpc.PeerCallOption:
			own := *opt.PeerAddr
			a.peers = append(a.peers, pair[peer.Peer]{opt.PeerAddr, &own})
			o = grpc.Peer(&own)
		}
		a.opts = append(a.opts, o)
	}
	a.opts = append(a.opts, grpc.Trailer(&a.pushed))
}

// deliver gives the caller what a brought.
func (p *parallel) deliver(a *attempt) {
	if a == nil {
		return
	}
	for _, h := range a.headers {
		*h.callers = *h.own
	}
	for _, pr := range a.peers {
		*pr.callers = *pr.own
	}
	if a == p.won && !p.once {
		move(p.reply, a.reply)
	}
}
