package serviceconfig_test

import (
	"context"
	"fmt"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc/serviceconfig"
	"github.com/thole-go/thole/timeout"
)

const ms = time.Millisecond

func parse(t *testing.T, js string) *serviceconfig.Config {
	t.Helper()
	c, err := serviceconfig.Parse(js)
	require.NoError(t, err)
	return c
}

// one is a config with a methodConfig for all methods.
func one(fields string) string {
	return `{"methodConfig": [{"name": [{}], ` + fields + `}]}`
}

// call calls through the interceptor; serve is what the attempts, from 0, come to.
func call(c *serviceconfig.Config, ctx context.Context, method string, serve func(ctx context.Context, n int) error) (attempts int, err error) {
	var n atomic.Int32
	err = c.UnaryClientInterceptor()(ctx, method, wrapperspb.String("x"), new(wrapperspb.StringValue), nil,
		func(ctx context.Context, _ string, _, _ any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			return serve(ctx, int(n.Add(1))-1)
		})
	return int(n.Load()), err
}

func fail(code codes.Code) error { return status.Error(code, "no") }

const retries = `"retryPolicy": {"maxAttempts": 3, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
	"retryableStatusCodes": ["UNAVAILABLE", "ABORTED"]}`

// Whatever grpc-go refuses is refused with its words; what it accepts is accepted.
func TestParse_errorsAreGRPCs(t *testing.T) {
	for _, js := range []string{
		``, `{`, `[]`, `{}`, `null`, `{"methodConfig": []}`, `{"methodConfig": [{}]}`,
		one(`"timeout": "1s"`), one(`"timeout": "1"`), one(`"timeout": 1`), one(`"timeout": "1.2.3s"`), one(`"timeout": "s"`),
		one(`"timeout": "-1s"`), one(`"timeout": ".5s"`), one(`"timeout": "1.s"`), one(`"timeout": "0s"`),
		one(`"timeout": "1.0000000001s"`), one(`"timeout": "315576000000s"`), one(`"timeout": "315576000001s"`), one(`"timeout": "xs"`),
		one(retries), one(`"RETRYpolicy": {}`),
		one(`"retryPolicy": {"maxAttempts": 1, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": ["UNAVAILABLE"]}`),
		one(`"retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": ["NONSENSE"]}`),
		one(`"retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": [14, 0]}`),
		one(`"retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1, "retryableStatusCodes": [99]}`),
		one(`"retryPolicy": {"maxAttempts": 2, "initialBackoff": "1s", "maxBackoff": "1s", "backoffMultiplier": 1}`),
		`{"methodConfig": [{"name": [{"service": "a"}, {"service": "a"}]}]}`,
		`{"methodConfig": [{"name": [{"method": "a"}]}]}`,
		`{"methodConfig": [{"name": [{"service": "a"}], "timeout": "1s"}, {"name": [{"service": "a"}]}]}`,
		`{"retryThrottling": {"maxTokens": 10, "tokenRatio": 0.1}}`,
		`{"retryThrottling": {"maxTokens": 0, "tokenRatio": 0.1}}`,
		`{"retryThrottling": {"maxTokens": 1001, "tokenRatio": 0.1}}`,
		`{"methodConfig": [], "retryThrottling": {"maxTokens": 1001, "tokenRatio": 0.1}}`,
		`{"methodConfig": [], "retryThrottling": {"maxTokens": 1, "tokenRatio": 0}}`,
		`{"loadBalancingConfig": [{"round_robin": {}}]}`, `{"loadBalancingConfig": [{"none_such": {}}]}`, `{"loadBalancingConfig": 1}`,
	} {
		cc, want := grpc.NewClient("passthrough:///x", grpc.WithTransportCredentials(insecure.NewCredentials()), grpc.WithDefaultServiceConfig(js))
		if cc != nil {
			_ = cc.Close()
		}
		c, err := serviceconfig.Parse(js)
		if want == nil {
			assert.NoError(t, err, js)
			assert.NotNil(t, c.Policy("/a/b"), js)
			continue
		}
		if assert.Error(t, err, js) {
			assert.Equal(t, want.Error(), "grpc: the provided default service config is invalid: "+err.Error(), js)
		}
	}
}

func TestParse_hedgingPolicy(t *testing.T) {
	for fields, want := range map[string]string{
		`"hedgingPolicy": {"maxAttempts": 2}`:                                "",
		`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.5s"}`:        "",
		`"hedgingPolicy": {"maxAttempts": 1}`:                                "invalid hedging policy in methodConfig[0]: maxAttempts is 1; want 2 or more",
		`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "-1s"}`:         "invalid hedging policy in methodConfig[0]: hedgingDelay is -1s; want 0 or more",
		`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "soon"}`:        `malformed duration "soon"`,
		`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "1ms"}`:         `malformed duration "1ms"`,
		`"hedgingPolicy": {"maxAttempts": 2, "nonFatalStatusCodes": ["NO"]}`: `invalid code: "\"NO\""`,
		retries + `, "hedgingPolicy": {"maxAttempts": 2}`:                    "invalid hedging policy in methodConfig[0]: there is a retryPolicy too; want one of the two",
	} {
		_, err := serviceconfig.Parse(one(fields))
		if want == "" {
			assert.NoError(t, err, fields)
		} else {
			assert.EqualError(t, err, want, fields)
		}
	}
}

func TestConfig_findsTheMethod(t *testing.T) {
	c := parse(t, `{"methodConfig": [
		{"name": [{"service": "a", "method": "b"}, {"service": "x", "method": "y"}], "timeout": "1s"},
		{"name": [{"service": "a"}], "timeout": "2s"},
		{"name": [{}], "timeout": "3s"},
		{"timeout": "4s"}
	]}`)
	for method, want := range map[string]time.Duration{"/a/b": 1, "/x/y": 1, "/a/c": 2, "/x/z": 3, "/n/n": 3} {
		err := c.Policy(method).Do(t.Context(), func(ctx context.Context) error {
			d, _ := ctx.Deadline()
			assert.InDelta(t, float64(want), time.Until(d).Seconds(), 0.5, method)
			return nil
		})
		require.NoError(t, err)
	}
	assert.Same(t, c.Policy("/a/b"), c.Policy("/x/y"))
	c = parse(t, `{}`)
	assert.NoError(t, c.Policy("/a/b").Do(t.Context(), func(ctx context.Context) error {
		_, ok := ctx.Deadline()
		assert.False(t, ok)
		return nil
	}))
	n, err := call(c, t.Context(), "/a/b", func(context.Context, int) error { return fail(codes.Unavailable) })
	assert.Equal(t, 1, n)
	assert.Equal(t, fail(codes.Unavailable).Error(), err.Error())
}

func TestConfig_timeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, limit := range []string{"1.5s", "0s"} {
			begin := time.Now()
			_, err := call(parse(t, one(`"timeout": "`+limit+`"`)), context.Background(), "/a/b", func(ctx context.Context, _ int) error {
				<-ctx.Done()
				return status.FromContextError(ctx.Err()).Err()
			})
			assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
			assert.ErrorIs(t, err, timeout.ErrTimeout)
			want, _ := time.ParseDuration(limit)
			assert.InDelta(t, want, time.Since(begin), float64(ms))
		}
		for _, none := range []string{"-1s", "315576000000s"} {
			_, err := call(parse(t, one(`"timeout": "`+none+`"`)), context.Background(), "/a/b", func(ctx context.Context, _ int) error {
				_, ok := ctx.Deadline()
				assert.False(t, ok)
				return nil
			})
			assert.NoError(t, err)
		}
	})
}

func TestConfig_retryPolicy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := parse(t, one(retries))
		for code, want := range map[codes.Code]int{codes.Unavailable: 3, codes.Aborted: 3, codes.Internal: 1, codes.NotFound: 1} {
			var at []time.Duration
			begin := time.Now()
			n, err := call(c, context.Background(), "/a/b", func(context.Context, int) error {
				at = append(at, time.Since(begin))
				return fail(code)
			})
			assert.Equal(t, want, n, code)
			assert.Equal(t, code, status.Code(err))
			if want == 3 {
				assert.ErrorIs(t, err, retry.ErrExhausted)
				assert.InDelta(t, 100*ms, at[1], float64(20*ms))
				assert.InDelta(t, 200*ms, at[2]-at[1], float64(40*ms))
			}
		}
		many := parse(t, one(`"retryPolicy": {"maxAttempts": 50, "initialBackoff": "1s", "maxBackoff": "2s", "backoffMultiplier": 10,
			"retryableStatusCodes": ["NOT_FOUND"]}`))
		begin := time.Now()
		n, _ := call(many, context.Background(), "/a/b", func(context.Context, int) error { return fail(codes.NotFound) })
		assert.Equal(t, 5, n)
		assert.InDelta(t, 7*time.Second, time.Since(begin), float64(1400*ms))
		n, _ = call(many, context.Background(), "/a/b", func(context.Context, int) error { return fail(codes.Unavailable) })
		assert.Equal(t, 1, n, "those listed and no others")
	})
}

func TestConfig_retryThrottling(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := parse(t, `{"retryThrottling": {"maxTokens": 4, "tokenRatio": 0.5}, "methodConfig": [{"name": [{}], `+retries+`}]}`)
		bad := func() int {
			n, _ := call(c, context.Background(), "/a/b", func(context.Context, int) error { return fail(codes.Unavailable) })
			return n
		}
		good := func() {
			_, err := call(c, context.Background(), "/a/b", func(context.Context, int) error { return nil })
			require.NoError(t, err)
		}
		assert.Equal(t, 2, bad(), "4 tokens, 3: again; 2: no more")
		assert.Equal(t, 1, bad())
		assert.Equal(t, 1, bad())
		for range 6 { // 0 and 6 times a half
			good()
		}
		assert.Equal(t, 1, bad(), "2 left is half")
		for range 20 {
			good()
		}
		assert.Equal(t, 2, bad(), "full again, and not more")
	})
}

const hedges = `"hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.1s", "nonFatalStatusCodes": ["UNAVAILABLE"]}`

func TestConfig_hedgingPolicy(t *testing.T) {
	sleep := func(ctx context.Context, d time.Duration) error {
		timer := time.NewTimer(d)
		defer timer.Stop()
		select {
		case <-timer.C:
			return nil
		case <-ctx.Done():
			return status.FromContextError(ctx.Err()).Err()
		}
	}
	synctest.Test(t, func(t *testing.T) {
		c := parse(t, one(hedges))
		begin := time.Now()
		n, err := call(c, context.Background(), "/a/b", func(ctx context.Context, n int) error {
			return sleep(ctx, []time.Duration{time.Hour, time.Hour, 10 * ms}[n])
		})
		assert.NoError(t, err)
		assert.Equal(t, 3, n)
		assert.Equal(t, 210*ms, time.Since(begin))

		begin = time.Now()
		_, err = call(c, context.Background(), "/a/b", func(ctx context.Context, n int) error {
			if n == 1 {
				return fail(codes.Internal)
			}
			return sleep(ctx, time.Hour)
		})
		assert.Equal(t, codes.Internal, status.Code(err), "fatal")
		assert.Equal(t, 100*ms, time.Since(begin))
		assert.Equal(t, thole.Failure, thole.OutcomeOf(context.Background(), c.Policy("/a/b").Do(context.Background(), func(context.Context) error {
			return fail(codes.Internal)
		})), "to those outside it is no answer")

		_, err = call(c, context.Background(), "/a/b", func(ctx context.Context, n int) error {
			if n == 1 {
				return fail(codes.Unavailable)
			}
			return sleep(ctx, 300*ms)
		})
		assert.NoError(t, err, "non-fatal")

		atOnce := parse(t, one(`"hedgingPolicy": {"maxAttempts": 9}`))
		n, _ = call(atOnce, context.Background(), "/a/b", func(ctx context.Context, _ int) error { return sleep(ctx, ms) })
		assert.Equal(t, 5, n)
		synctest.Wait()

		tight := parse(t, `{"retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}, "methodConfig": [{"name": [{}], `+hedges+`}]}`)
		_, _ = call(tight, context.Background(), "/a/b", func(context.Context, int) error { return fail(codes.Unavailable) })
		n, _ = call(tight, context.Background(), "/a/b", func(ctx context.Context, _ int) error { return sleep(ctx, time.Second) })
		assert.Equal(t, 1, n, "throttled")
	})
}

// The second of two successes hears that it was cancelled. That ends nothing, though it may be
// known before the first is, and takes no token.
func TestConfig_hedgingPolicy_twoSuccesses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := parse(t, `{"retryThrottling": {"maxTokens": 2, "tokenRatio": 0.1}, "methodConfig": [{"name": [{}],
			"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.1s", "nonFatalStatusCodes": ["UNKNOWN"]}}]}`)
		fatal := parse(t, one(`"hedgingPolicy": {"maxAttempts": 2, "hedgingDelay": "0.1s"}`))
		for _, p := range []thole.Policy{c.Policy("/a/b"), fatal.Policy("/a/b")} {
			for range 3 {
				var n atomic.Int32
				err := p.Do(t.Context(), func(context.Context) error {
					if n.Add(1) == 2 {
						return context.Canceled
					}
					time.Sleep(200 * ms)
					return nil
				})
				assert.NoError(t, err)
				assert.EqualValues(t, 2, n.Load())
			}
		}
	})
}

func TestConfig_streamsAndDialOptions(t *testing.T) {
	c := parse(t, one(retries))
	assert.Len(t, c.DialOptions(), 3)
	tries := 0
	_, err := c.StreamClientInterceptor()(t.Context(), &grpc.StreamDesc{}, nil, "/a/b", func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, ...grpc.CallOption) (grpc.ClientStream, error) {
		tries++
		return nil, fail(codes.Internal)
	})
	assert.Equal(t, codes.Internal, status.Code(err))
	assert.Equal(t, 1, tries)
	assert.Equal(t, "retry", fmt.Sprint(c.Policy("/a/b")))
}

func FuzzParse(f *testing.F) {
	f.Add(`{}`)
	f.Add(one(retries))
	f.Add(one(hedges))
	f.Add(one(`"timeout": "-9223372036.854775808s"`))
	f.Fuzz(func(t *testing.T, js string) {
		if c, err := serviceconfig.Parse(js); err == nil {
			_ = c.Policy("/a/b")
		}
	})
}

func ExampleParse() {
	cfg, err := serviceconfig.Parse(`{
		"methodConfig": [{
			"name": [{"service": "shop.Cart"}],
			"timeout": "2s",
			"retryPolicy": {
				"maxAttempts": 4, "initialBackoff": "0.1s", "maxBackoff": "1s", "backoffMultiplier": 2,
				"retryableStatusCodes": ["UNAVAILABLE"]
			}
		}]
	}`)
	if err != nil {
		panic(err)
	}
	fmt.Println(cfg.Policy("/shop.Cart/Get"))
	fmt.Println(cfg.Policy("/shop.Order/Put"))
	// Output:
	// timeout(retry)
	// none
}
