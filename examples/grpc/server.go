package main

import (
	"context"
	"math/rand/v2"
	"net"
	"sync/atomic"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/protobuf/types/known/wrapperspb"
)

// server answers one method, after a while.
type server struct {
	grpc     *grpc.Server
	addr     string
	straggle time.Duration // what one answer in thirty takes
	dead     atomic.Bool   // hangs until the caller gives up
	arrived  atomic.Int64
}

const fetch = "/shop.Catalog/Fetch"

// serve starts a server. It stops with stop.
func serve(straggle time.Duration) (*server, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s := &server{grpc: grpc.NewServer(), addr: l.Addr().String(), straggle: straggle}
	// A program with a proto file of its own has this generated.
	s.grpc.RegisterService(&grpc.ServiceDesc{
		ServiceName: "shop.Catalog", HandlerType: (*any)(nil),
		Methods: []grpc.MethodDesc{{MethodName: "Fetch", Handler: s.handle}},
	}, nil)
	go func() { _ = s.grpc.Serve(l) }()
	return s, nil
}

func (s *server) handle(_ any, ctx context.Context, decode func(any) error, _ grpc.UnaryServerInterceptor) (any, error) {
	req := new(wrapperspb.StringValue)
	if err := decode(req); err != nil {
		return nil, err
	}
	s.arrived.Add(1)
	if s.dead.Load() {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	work := 2*time.Millisecond + rand.N(6*time.Millisecond)
	if s.straggle > 0 && rand.N(30) == 0 {
		work = s.straggle
	}
	select {
	case <-time.After(work):
		return req, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (s *server) stop() { s.grpc.Stop() }
