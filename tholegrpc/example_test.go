package tholegrpc_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholegrpc"
)

func ExampleDialOptions() {
	creds := grpc.WithTransportCredentials(insecure.NewCredentials())
	conn, err := grpc.NewClient("passthrough:///localhost:1", append(tholegrpc.DialOptions(standard.Client()), creds)...)
	if err != nil {
		panic(err)
	}
	defer conn.Close()
	fmt.Println(conn.Target())
	// Output: passthrough:///localhost:1
}

func ExampleServerOptions() {
	srv := grpc.NewServer(tholegrpc.ServerOptions(standard.Server(100),
		tholegrpc.WithExempt(tholegrpc.HealthAndReflection), // answered under overload too
		tholegrpc.WithFloor(5*time.Millisecond),             // what can't be finished is not begun
	)...)
	defer srv.Stop()
	fmt.Println(len(srv.GetServiceInfo()))
	// Output: 0
}

// invoke stands for a connection whose server is down for a while.
func invoke(failures int) grpc.UnaryInvoker {
	return func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		if failures--; failures >= 0 {
			return status.Error(codes.Unavailable, "down")
		}
		return nil
	}
}

func ExampleUnaryClientInterceptor() {
	b := breaker.New(breaker.Config{Name: "shop", ConsecutiveFailures: 2})
	call := tholegrpc.UnaryClientInterceptor(b)
	down := invoke(10)
	for range 3 {
		err := call(context.Background(), "/shop.Cart/Put", nil, nil, nil, down)
		fmt.Println(status.Code(err), errors.Is(err, breaker.ErrOpen))
	}
	// Output:
	// Unavailable false
	// Unavailable false
	// Unavailable true
}

func ExampleWithRepeatable() {
	p := retry.New(retry.Config{Backoff: retry.Constant(0)})
	call := tholegrpc.UnaryClientInterceptor(p, tholegrpc.WithRepeatable(tholegrpc.Methods("/shop.Cart/Get*")))
	fmt.Println(call(context.Background(), "/shop.Cart/GetAll", nil, nil, nil, invoke(2)))
	fmt.Println(call(context.Background(), "/shop.Cart/Put", nil, nil, nil, invoke(2)))
	// Output:
	// <nil>
	// rpc error: code = Unavailable desc = down
}

func ExampleWithOutcome() {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	call := tholegrpc.UnaryClientInterceptor(b, tholegrpc.WithOutcome(func(method string, st *status.Status) thole.Outcome {
		if st.Code() == codes.Unavailable {
			return thole.Ignored // a mesh takes care of that
		}
		return tholegrpc.DefaultOutcome(st.Code())
	}))
	_ = call(context.Background(), "/shop.Cart/Put", nil, nil, nil, invoke(1))
	fmt.Println(b.State())
	// Output: closed
}

func ExampleUnaryServerInterceptor() {
	full := bulkhead.New(bulkhead.Config{Name: "server", Limit: 1})
	serve := tholegrpc.UnaryServerInterceptor(full)
	info := &grpc.UnaryServerInfo{FullMethod: "/shop.Cart/Get"}
	_, _ = serve(context.Background(), "outer", info, func(ctx context.Context, req any) (any, error) {
		_, err := serve(ctx, "inner", info, func(context.Context, any) (any, error) { return "never", nil })
		fmt.Println(err, errors.Is(err, bulkhead.ErrFull))
		return nil, nil
	})
	// Output: rpc error: code = Unavailable desc = bulkhead[server]: full true
}

func ExampleRejectionCode() {
	fmt.Println(tholegrpc.RejectionCode(bulkhead.ErrFull), tholegrpc.RejectionCode(tholegrpc.ErrExpired))
	// Output: Unavailable DeadlineExceeded
}

// Each attempt of a hedged call has a reply of its own; the caller's is the winner's.
func Example_hedging() {
	h := hedge.New(hedge.Config{Delay: time.Millisecond, Budget: thole.NoBudget})
	call := tholegrpc.UnaryClientInterceptor(h, tholegrpc.WithRepeatable(func(string) bool { return true }))
	var reply string
	err := call(context.Background(), "/shop.Cart/Get", nil, &reply, nil,
		func(ctx context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			if thole.AttemptFrom(ctx).Hedge == 0 {
				<-ctx.Done() // hangs
			}
			*reply.(*string) = fmt.Sprint("from attempt ", thole.AttemptFrom(ctx).Hedge)
			return nil
		})
	fmt.Println(reply, err)
	// Output: from attempt 1 <nil>
}
