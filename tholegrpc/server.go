package tholegrpc

import (
	"context"

	"google.golang.org/grpc"
	"google.golang.org/grpc/metadata"

	"github.com/thole-go/thole"
)

// ServerOptions returns the options for a server whose calls, unary and streams, go through
// p: together, so that a bulkhead bounds both.
func ServerOptions(p thole.Policy, opts ...Option) []grpc.ServerOption {
	return []grpc.ServerOption{
		grpc.ChainUnaryInterceptor(UnaryServerInterceptor(p, opts...)),
		grpc.ChainStreamInterceptor(StreamServerInterceptor(p, opts...)),
	}
}

// server is what the interceptors of one policy share.
type server struct {
	*config
	policy thole.Policy
	notes  notebook
}

func newServer(p thole.Policy, opts []Option) *server {
	if p == nil {
		p = thole.Chain()
	}
	s := &server{config: newConfig(opts), policy: p}
	if s.target == nil {
		s.target = func(_, fullMethod string) string { return fullMethod }
	}
	s.notes.cfg = s.config
	return s
}

// UnaryServerInterceptor returns an interceptor that runs handlers of unary calls inside p: a
// bulkhead bounds those in progress, a rate limit those per second, a timeout puts a
// deadline on the handler's context. A nil p is no policy. See the package's documentation
// for what p sees and what the client of a refused call gets.
func UnaryServerInterceptor(p thole.Policy, opts ...Option) grpc.UnaryServerInterceptor {
	s := newServer(p, opts)
	return func(ctx context.Context, req any, info *grpc.UnaryServerInfo, handler grpc.UnaryHandler) (any, error) {
		n := s.notes.of("", info.FullMethod)
		if n.exempt {
			return handler(ctx, req)
		}
		var resp any
		x := exchange{
			server: s, notes: n, outer: ctx,
			serve: func(ctx context.Context) (err error) {
				resp, err = handler(ctx, req)
				return err
			},
			trailer: func(md metadata.MD) { _ = grpc.SetTrailer(ctx, md) }, // fails outside of a server only
		}
		err := x.do()
		return resp, err
	}
}

// StreamServerInterceptor is [UnaryServerInterceptor] for streams. A stream is guarded as a
// whole: it holds its permit, and its time limit runs, until the handler returns.
func StreamServerInterceptor(p thole.Policy, opts ...Option) grpc.StreamServerInterceptor {
	s := newServer(p, opts)
	return func(srv any, ss grpc.ServerStream, info *grpc.StreamServerInfo, handler grpc.StreamHandler) error {
		n := s.notes.of("", info.FullMethod)
		if n.exempt {
			return handler(srv, ss)
		}
		x := exchange{
			server: s, notes: n, outer: ss.Context(),
			serve: func(ctx context.Context) error {
				return handler(srv, &serverStream{ss, ctx})
			},
			trailer: ss.SetTrailer,
		}
		return x.do()
	}
}

// serverStream is a stream with the context that the policies gave.
type serverStream struct {
	grpc.ServerStream
	ctx context.Context
}

func (s *serverStream) Context() context.Context { return s.ctx }
