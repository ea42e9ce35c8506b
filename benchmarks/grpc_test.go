package benchmarks

import (
	"context"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafegrpc"
	grpcretry "github.com/grpc-ecosystem/go-grpc-middleware/v2/interceptors/retry"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/emptypb"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
)

// Three attempts, 1 ms apart, and a breaker that opens after five failures in a row.
func failsafeInterceptor() grpc.UnaryClientInterceptor {
	return failsafegrpc.NewUnaryClientInterceptor[any](
		failsafegrpc.NewRetryPolicyBuilder[any]().WithMaxRetries(2).WithDelay(time.Millisecond).Build(),
		circuitbreaker.NewBuilder[any]().WithFailureThreshold(row).WithDelay(never).Build(),
	)
}

func tholeInterceptor(b *breaker.Breaker) grpc.UnaryClientInterceptor {
	attempts := retry.New(retry.Config{MaxAttempts: 3, Backoff: retry.Constant(time.Millisecond)})
	return tholegrpc.UnaryClientInterceptor(thole.Chain(attempts, b), tholegrpc.WithRepeatable(
		func(string) bool { return true },
	))
}

// middlewareInterceptor retries, and no more.
func middlewareInterceptor() grpc.UnaryClientInterceptor {
	return grpcretry.UnaryClientInterceptor(
		grpcretry.WithMax(3),
		grpcretry.WithBackoff(grpcretry.BackoffLinear(time.Millisecond)),
		grpcretry.WithCodes(codes.Unavailable),
	)
}

func bareInterceptor(
	ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoke grpc.UnaryInvoker, opts ...grpc.CallOption,
) error {
	return invoke(ctx, method, req, reply, cc, opts...)
}

const method = "/pay.v1.Payments/Get"

// instantly is a call that the server answers at once.
func instantly(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

// connection returns a connection that never connects, for its target's name.
func connection(t testing.TB) *grpc.ClientConn {
	cc, err := grpc.NewClient("passthrough:///payments:443", grpc.WithTransportCredentials(insecure.NewCredentials()))
	require.NoError(t, err)
	t.Cleanup(func() { _ = cc.Close() })
	return cc
}

// requireRetries checks that an interceptor makes three attempts and then opens its circuit after
// so many failed ones more, if it has one.
func requireRetries(t *testing.T, intercept grpc.UnaryClientInterceptor, opensAfter int) {
	t.Helper()
	cc, calls, bad := connection(t), 0, 2
	invoke := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
		if calls++; calls <= bad {
			return status.Error(codes.Unavailable, "no")
		}
		return nil
	}
	require.NoError(t, intercept(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}, cc, invoke))
	require.Equal(t, 3, calls)
	if opensAfter == 0 {
		return
	}
	calls, bad = 0, 1<<20
	for range 20 {
		require.Error(t, intercept(t.Context(), method, &emptypb.Empty{}, &emptypb.Empty{}, cc, invoke))
	}
	require.Equal(t, opensAfter, calls)
}

func benchInterceptor(b *testing.B, name string, intercept grpc.UnaryClientInterceptor) {
	b.Run(name, func(b *testing.B) {
		cc, ctx := connection(b), context.Background()
		req, reply := new(emptypb.Empty), new(emptypb.Empty)
		for b.Loop() {
			if err := intercept(ctx, method, req, reply, cc, instantly); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func TestInterceptor_retriesAndBreaks(t *testing.T) {
	t.Run("thole", func(t *testing.T) { requireRetries(t, tholeInterceptor(tholeRow()), row) })
	t.Run("thole, window", func(t *testing.T) { requireRetries(t, tholeInterceptor(tholeWindow()), window-3) })
	t.Run("failsafe-go", func(t *testing.T) { requireRetries(t, failsafeInterceptor(), row) })
	t.Run("go-grpc-middleware", func(t *testing.T) { requireRetries(t, middlewareInterceptor(), 0) })
}

func BenchmarkInterceptor(b *testing.B) {
	yardstick(b)
	benchInterceptor(b, "thole", tholeInterceptor(tholeRow()))
	benchInterceptor(b, "thole,_breaker_with_a_window", tholeInterceptor(tholeWindow()))
	benchInterceptor(b, "failsafe-go", failsafeInterceptor())
	benchInterceptor(b, "go-grpc-middleware,_retry_alone", middlewareInterceptor())
	benchInterceptor(b, "bare", bareInterceptor)
}
