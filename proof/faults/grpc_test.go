package faults

import (
	"context"
	"fmt"
	"net"
	"testing"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/backoff"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/health"
	"google.golang.org/grpc/health/grpc_health_v1"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholegrpc"
)

// beginGRPC asks a real server for its health: there is no other service without generated code.
func beginGRPC(t *testing.T, policy thole.Policy) (*Proxy, func(context.Context) error, func(), func()) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := grpc.NewServer()
	grpc_health_v1.RegisterHealthServer(server, health.NewServer())
	go server.Serve(listener)
	proxy, err := NewProxy(listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	var conn *grpc.ClientConn
	dial := func() {
		conn, err = grpc.NewClient("passthrough:"+proxy.Addr(),
			grpc.WithTransportCredentials(insecure.NewCredentials()),
			grpc.WithConnectParams(grpc.ConnectParams{
				Backoff:           backoff.Config{BaseDelay: 10 * time.Millisecond, Multiplier: 1.5, MaxDelay: 50 * time.Millisecond},
				MinConnectTimeout: 300 * time.Millisecond,
			}),
			grpc.WithUnaryInterceptor(tholegrpc.UnaryClientInterceptor(policy,
				tholegrpc.WithRepeatable(func(string) bool { return true }))))
		if err != nil {
			t.Fatal(err)
		}
	}
	dial()
	call := func(ctx context.Context) error {
		reply, err := grpc_health_v1.NewHealthClient(conn).Check(ctx, &grpc_health_v1.HealthCheckRequest{})
		if err == nil && reply.GetStatus() != grpc_health_v1.HealthCheckResponse_SERVING {
			return fmt.Errorf("%w: %v", errWrongAnswer, reply)
		}
		return err
	}
	end := func() {
		proxy.Close()
		server.Stop()
	}
	return proxy, call, func() { conn.Close() }, end
}
