package tholegrpc_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/tholegrpc/serviceconfig"
	"github.com/thole-go/thole/timeout"
)

const nativeRetries = `{"methodConfig": [{"name": [{}], "retryPolicy": {"maxAttempts": 4, "initialBackoff": "0.001s",
	"maxBackoff": "0.001s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}}]}`

// gRPC's own retries multiply with ours, which is warned of, unless they are switched off.
func TestUnaryClient_rule50_noDoubleRetry(t *testing.T) {
	always := func(context.Context, *text) (*text, error) { return nil, fail(codes.Unavailable) }
	config := grpc.WithDefaultServiceConfig(nativeRetries)
	mark := "has a retryPolicy for " + get
	for name, row := range map[string]struct {
		dial  []grpc.DialOption
		calls int32
		warns int
	}{
		"DialOptions":  {tholegrpc.DialOptions(quick(3)), 3, 0},
		"no retry":     {[]grpc.DialOption{through(breaker.New(breaker.Config{}))}, 4, 0},
		"interceptors": {[]grpc.DialOption{through(quick(3))}, 12, 1},
		"the other way, said": {[]grpc.DialOption{grpc.WithDisableRetry(),
			grpc.WithChainUnaryInterceptor(tholegrpc.UnaryClientInterceptor(quick(3), tholegrpc.WithNativeRetriesOff()))}, 3, 0},
		"service config": {serviceConfig(t, nativeRetries).DialOptions(), 4, 0},
	} {
		t.Run(name, func(t *testing.T) {
			before := strings.Count(warnings.String(), mark)
			s := &service{unary: always}
			c := start(t, s, append(row.dial, config)...)
			_, err := c.call(t.Context(), get, "x")
			assert.Equal(t, codes.Unavailable, status.Code(err))
			assert.Equal(t, row.calls, s.calls.Load())
			_, _ = c.call(t.Context(), get, "x")
			assert.Equal(t, row.warns, strings.Count(warnings.String(), mark)-before, "once for a method")
		})
	}
}

func serviceConfig(t *testing.T, js string) *serviceconfig.Config {
	t.Helper()
	cfg, err := serviceconfig.Parse(js)
	require.NoError(t, err)
	return cfg
}

// Two interceptors, one after the other: what the inner one's policies refuse is to the
// outer one's a refusal, and what they time out may be tried again.
func TestUnaryClient_interceptorsInARow(t *testing.T) {
	open := breaker.New(breaker.Config{})
	open.Isolate(time.Minute)
	outer := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	for _, hide := range []func(thole.Policy) thole.Policy{func(p thole.Policy) thole.Policy { return p }, opaque} {
		s := &service{}
		c := start(t, s, through(hide(thole.Chain(outer, quick(3)))), through(open))
		_, err := c.call(t.Context(), get, "x")
		assert.ErrorIs(t, err, breaker.ErrOpen)
		assert.NotErrorIs(t, err, retry.ErrExhausted)
		assert.Equal(t, codes.Unavailable, status.Code(err))
		assert.Equal(t, breaker.Closed, outer.State())

		attempts := 0
		hangs := grpc.WithChainUnaryInterceptor(func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ grpc.UnaryInvoker, _ ...grpc.CallOption) error {
			if attempts++; attempts < 3 {
				<-ctx.Done()
				return status.FromContextError(ctx.Err()).Err()
			}
			return nil
		})
		c = start(t, s, through(hide(quick(3))), through(hide(timeout.New(timeout.Config{Limit: 20 * ms}))), hangs)
		_, err = c.call(t.Context(), get, "x")
		require.NoError(t, err)
		assert.Equal(t, 3, attempts)
	}
}
