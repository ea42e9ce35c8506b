package tholegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding/gzip"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholegrpc"
)

// seen is all that a caller can tell of a call.
type seen struct {
	Replies         []string
	Status          string
	Code            codes.Code
	Header, Trailer metadata.MD
	Peer            bool
	Finished        []string
}

func (s *seen) end(err error) {
	if err == nil || err == io.EOF {
		s.Status = fmt.Sprint(err)
		return
	}
	s.Code = status.Code(err)
	s.Status = status.Convert(err).Proto().String()
}

// metadata of a transport's own making differs between calls.
func (s *seen) tidy() seen {
	delete(s.Header, "date")
	return *s
}

// makers of calls, for each kind of method.
var kinds = map[string]func(t *testing.T, ctx context.Context, c *pair, req string, opts ...grpc.CallOption) seen{
	post: invokeAny(post), get: invokeAny(get), put: invokeAny(put), nowhere: invokeAny(nowhere), strangUn: invokeAny(strangUn),
	down: streamAny(down), up: streamAny(up), bidi: streamAny(bidi), oneShot: streamAny(oneShot),
}

func invokeAny(method string) func(*testing.T, context.Context, *pair, string, ...grpc.CallOption) seen {
	return func(t *testing.T, ctx context.Context, c *pair, req string, opts ...grpc.CallOption) (s seen) {
		var p peer.Peer
		finished := make(chan error, 9)
		reply := say("was here")
		err := c.Invoke(ctx, method, say(req), reply, append(opts, grpc.Header(&s.Header), grpc.Trailer(&s.Trailer), grpc.Peer(&p),
			grpc.OnFinish(func(err error) { finished <- err }))...)
		s.Replies = []string{reply.Value}
		s.Peer = p.Addr != nil
		s.end(err)
		for range len(finished) {
			s.Finished = append(s.Finished, status.Code(<-finished).String())
		}
		return s.tidy()
	}
}

func streamAny(method string) func(*testing.T, context.Context, *pair, string, ...grpc.CallOption) seen {
	return func(t *testing.T, ctx context.Context, c *pair, req string, opts ...grpc.CallOption) (s seen) {
		finished := make(chan error, 9)
		stream, err := c.open(ctx, method, append(opts, grpc.OnFinish(func(err error) { finished <- err }))...)
		if err != nil {
			s.end(err)
			s.Finished = append(s.Finished, status.Code(<-finished).String())
			return s.tidy()
		}
		n := 1
		if streamDescs[method].ClientStreams {
			n = 3
		}
		for range n {
			if err := stream.SendMsg(say(req)); err != nil && err != io.EOF {
				s.Replies = append(s.Replies, "SendMsg: "+status.Convert(err).Proto().String())
			}
		}
		_ = stream.CloseSend()
		for {
			m := new(text)
			if err = stream.RecvMsg(m); err != nil {
				break
			}
			s.Replies = append(s.Replies, m.Value)
			if !streamDescs[method].ServerStreams {
				break
			}
		}
		s.end(err)
		s.Header, _ = stream.Header()
		s.Trailer = stream.Trailer()
		_, s.Peer = peer.FromContext(stream.Context())
		s.Finished = append(s.Finished, status.Code(<-finished).String())
		return s.tidy()
	}
}

// obedient does what the request asks for, on every kind of method.
func obedient() *service {
	do := func(ctx context.Context, req string, setHeader func(metadata.MD) error, setTrailer func(metadata.MD)) error {
		md, _ := metadata.FromIncomingContext(ctx)
		_ = setHeader(metadata.Pairs("echo", strings.Join(md["ask"], ","), "bin-bin", "\x00\xff"))
		setTrailer(metadata.Pairs("bye", req))
		switch req {
		case "notfound":
			return withInfo(codes.NotFound, time.Second)
		case "internal":
			return withInfo(codes.Internal, time.Second)
		case "plain":
			return errors.New("plain")
		case "wrapped":
			return fmt.Errorf("wrapped: %w", fail(codes.DataLoss))
		case "exhausted":
			return fail(codes.ResourceExhausted)
		case "hang":
			<-ctx.Done()
			return ctx.Err()
		}
		return nil
	}
	return &service{
		unary: func(ctx context.Context, req *text) (*text, error) {
			err := do(ctx, req.Value, func(md metadata.MD) error { return grpc.SetHeader(ctx, md) },
				func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) })
			return req, err
		},
		stream: func(method string, ss grpc.ServerStream) error {
			first := new(text)
			if err := ss.RecvMsg(first); err != nil {
				return err
			}
			if err := do(ss.Context(), first.Value, ss.SetHeader, ss.SetTrailer); err != nil {
				if method == bidi || method == down {
					_ = ss.SendMsg(say("before the error"))
				}
				return err
			}
			return echoStream(method, &replay{ss, first})
		},
	}
}

// replay gives a message that was received once more.
type replay struct {
	grpc.ServerStream
	first *text
}

func (r *replay) RecvMsg(m any) error {
	if r.first != nil {
		proto.Merge(m.(proto.Message), r.first)
		r.first = nil
		return nil
	}
	return r.ServerStream.RecvMsg(m)
}

// A client through the standard stack, and a server through its own, look like bare ones:
// for every kind of method, in good and in bad times.
func TestTransparent_everyKindOfMethod(t *testing.T) {
	wrapped := map[string]struct {
		server []grpc.ServerOption
		client func() []grpc.DialOption
	}{
		"sequential client": {nil, func() []grpc.DialOption { return tholegrpc.DialOptions(quick(3)) }},
		"hedging client":    {nil, func() []grpc.DialOption { return tholegrpc.DialOptions(hedge.New(hedge.Config{Delay: time.Hour})) }},
		"both":              {tholegrpc.ServerOptions(standard.Server(100)), func() []grpc.DialOption { return tholegrpc.DialOptions(standard.Client()) }},
	}
	big := strings.Repeat("big ", 25_000) // 100 kB: many frames, and more than one flow control window
	overEach(t, func(t *testing.T, n network) {
		bare := n.start(t, obedient(), nil)
		for name, w := range wrapped {
			if n.name != "bufconn" && name != "standard" {
				continue
			}
			for method, call := range kinds {
				c := n.start(t, obedient(), w.server, w.client()...) // its own: a breaker remembers
				for about, row := range map[string]struct {
					req  string
					opts []grpc.CallOption
					ctx  func() (context.Context, context.CancelFunc)
					cut  bool // the call is cut off: how far it came by then is up to chance
				}{
					"good":          {req: "hello"},
					"empty":         {req: ""},
					"big":           {req: big},
					"compressed":    {req: big, opts: []grpc.CallOption{grpc.UseCompressor(gzip.Name)}},
					"no compressor": {req: "x", opts: []grpc.CallOption{grpc.UseCompressor("none such")}},
					"too large":     {req: "too large", cut: true, opts: []grpc.CallOption{grpc.MaxCallSendMsgSize(4)}},
					"reply too large": {req: "too large", cut: true,
						opts: []grpc.CallOption{grpc.MaxCallRecvMsgSize(4)}},
					"answer":    {req: "notfound"},
					"failure":   {req: "internal"},
					"plain":     {req: "plain"},
					"wrapped":   {req: "wrapped"},
					"exhausted": {req: "exhausted"},
					"cancelled before": {req: "x", ctx: func() (context.Context, context.CancelFunc) {
						ctx, cancel := context.WithCancel(t.Context())
						cancel()
						return ctx, cancel
					}},
					"deadline": {req: "hang", cut: true, ctx: func() (context.Context, context.CancelFunc) {
						return context.WithTimeout(t.Context(), 10*ms)
					}},
					"deadline before": {req: "hang", ctx: func() (context.Context, context.CancelFunc) {
						return context.WithDeadline(t.Context(), time.Unix(1, 0))
					}},
					"cancelled": {req: "hang", cut: true, ctx: func() (context.Context, context.CancelFunc) {
						ctx, cancel := context.WithCancel(t.Context())
						time.AfterFunc(5*ms, cancel)
						return ctx, cancel
					}},
				} {
					if row.cut && (method == nowhere || method == strangUn) {
						continue // the answer may come before that
					}
					t.Run(name+method+"/"+about, func(t *testing.T) {
						of := func(c *pair) seen {
							ctx, cancel := context.WithCancel(t.Context())
							if row.ctx != nil {
								ctx, cancel = row.ctx()
							}
							defer cancel()
							return call(t, metadata.AppendToOutgoingContext(ctx, "ask", "a", "ask", "b"), c, row.req, row.opts...)
						}
						want, got := of(bare), of(c)
						if row.cut {
							want = seen{Code: want.Code, Finished: want.Finished}
							got = seen{Code: got.Code, Finished: got.Finished}
						}
						if len(want.Replies) > 0 && len(want.Replies[0]) > 1000 { // readable when it fails
							require.True(t, assert.ObjectsAreEqual(want.Replies, got.Replies))
							want.Replies, got.Replies = nil, nil
						}
						assert.Equal(t, want, got)
					})
				}
			}
		}
	})
}

// A server that dies in the middle of a call.
func TestTransparent_serverGone(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		for name, client := range map[string][]grpc.DialOption{"bare": nil, "standard": tholegrpc.DialOptions(standard.Client())} {
			t.Run(name, func(t *testing.T) {
				begun := make(chan struct{}, 9)
				s := both(func(ctx context.Context) error {
					begun <- struct{}{}
					<-ctx.Done()
					return ctx.Err()
				})
				c := n.start(t, s, nil, client...)
				stream, err := c.open(t.Context(), bidi)
				require.NoError(t, err)
				<-begun
				failed := make(chan error, 1)
				go func() {
					_, err := c.call(t.Context(), post, "x")
					failed <- err
				}()
				<-begun
				c.server.Stop()
				assert.Equal(t, codes.Unavailable, status.Code(<-failed))
				_, err = drain(stream)
				assert.Equal(t, codes.Unavailable, status.Code(err))
				_, err = c.call(t.Context(), post, "x")
				assert.Equal(t, codes.Unavailable, status.Code(err), "nobody listens")
			})
		}
	})
}

// All kinds of calls under one long-lived context, on both sides, leave nothing behind.
func TestTransparent_thousandCallsLeaveNothing(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		limit := bulkhead.New(bulkhead.Config{Limit: 20})
		p := thole.Chain(limit, standard.Client(), hedge.New(hedge.Config{Delay: time.Microsecond, Budget: thole.NoBudget}))
		server := bulkhead.New(bulkhead.Config{Limit: 20})
		c := n.start(t, obedient(), tholegrpc.ServerOptions(server), tholegrpc.DialOptions(p)...)
		all := func() {
			for _, call := range kinds {
				for _, req := range []string{"x", "notfound", "internal"} {
					call(t, ctx, c, req)
				}
			}
		}
		all()
		before := goroutines(t)
		for range 1000/(len(kinds)*3) + 1 {
			all()
		}
		settles(t, before)
		assert.True(t, soon(func() bool { return limit.Stats().InUse == 0 && server.Stats().InUse == 0 }))
	})
}
