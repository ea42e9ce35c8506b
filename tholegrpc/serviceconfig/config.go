package serviceconfig

import (
	"context"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/timeout"
)

// maxAttempts is what gRPC allows at the most, whatever a config says.
const maxAttempts = 5

// maxLimit is the longest time limit there is; a longer one is none.
const maxLimit = 876000 * time.Hour

// Config is a service config, as policies. It is safe for concurrent use.
type Config struct {
	methods  map[string]*method
	throttle *throttle // nil: none
}

// method is a methodConfig.
type method struct {
	policy  thole.Policy
	options []tholegrpc.Option
}

func newConfig(t *rawThrottling) *Config {
	c := &Config{methods: map[string]*method{}}
	if t != nil {
		c.throttle = newThrottle(t.MaxTokens, t.TokenRatio)
	}
	return c
}

func (c *Config) add(raw rawMethod) {
	if raw.Name == nil {
		return
	}
	m := c.method(raw)
	for _, n := range raw.Name {
		c.methods[n.path()] = m
	}
}

func (c *Config) method(raw rawMethod) *method {
	m := &method{options: []tholegrpc.Option{tholegrpc.WithWholeStream()}}
	var layers []thole.Policy
	if t := raw.Timeout; t != nil && *t >= 0 && time.Duration(*t) <= maxLimit {
		// As in gRPC, no time at all is a limit too.
		layers = append(layers, timeout.New(timeout.Config{Limit: max(time.Duration(*t), 1)}))
	}
	repeatable := tholegrpc.WithRepeatable(func(string) bool { return true })
	switch {
	case raw.RetryPolicy != nil:
		listed := retryable(raw.RetryPolicy.RetryableStatusCodes)
		layers = append(layers, c.retry(raw.RetryPolicy, listed))
		m.options = append(m.options, repeatable, tholegrpc.WithRetryCodes(listed...))
	case raw.HedgingPolicy != nil:
		layers = append(layers, c.hedge(raw.HedgingPolicy))
		m.options = append(m.options, repeatable)
	}
	m.policy = thole.Chain(layers...)
	return m
}

// retryable returns the codes of a list that can be retried; OK cannot.
func retryable(list []codes.Code) []codes.Code {
	return slices.DeleteFunc(slices.Clone(list), func(c codes.Code) bool { return c == codes.OK })
}

func (c *Config) retry(raw *rawRetry, listed []codes.Code) thole.Policy {
	isListed := func(err error) bool { return slices.Contains(listed, status.Code(err)) }
	r := retry.New(retry.Config{
		MaxAttempts: min(raw.MaxAttempts, maxAttempts),
		Backoff:     schedule(time.Duration(raw.InitialBackoff), time.Duration(raw.MaxBackoff), raw.BackoffMultiplier),
		RetryIf:     func(err error) bool { return isListed(err) && c.throttle.allows() },
		Budget:      thole.NoBudget,
	})
	return c.throttle.around(r, isListed)
}

func (c *Config) hedge(raw *rawHedging) thole.Policy {
	h := hedge.New(hedge.Config{
		Delay:     min(max(time.Duration(raw.HedgingDelay), 1), maxLimit), // 0 is: all at once
		MaxHedges: min(raw.MaxAttempts, maxAttempts) - 1,
		Budget:    thole.NoBudget,
	})
	nonFatal := func(err error) bool { return slices.Contains(raw.NonFatalStatusCodes, status.Code(err)) }
	return c.throttle.around(&fatalEnds{h, nonFatal, c.throttle}, nonFatal)
}

// Policy returns the policy for a method: that of its own methodConfig, or of its service's,
// or the default's. It is never nil, and the same for all names of one methodConfig.
//
// What a service config says needs more than a policy: use the interceptors if you can.
func (c *Config) Policy(fullMethod string) thole.Policy { return c.find(fullMethod).policy }

func (c *Config) find(fullMethod string) *method {
	if m := c.methods[fullMethod]; m != nil {
		return m
	}
	if m := c.methods[fullMethod[:strings.LastIndex(fullMethod, "/")+1]]; m != nil {
		return m
	}
	if m := c.methods[""]; m != nil {
		return m
	}
	return nothing
}

var nothing = &method{policy: thole.Chain()}

// DialOptions returns the options for a client whose calls, unary and streams, go through c's
// policies, and whose own retries are switched off.
func (c *Config) DialOptions(opts ...tholegrpc.Option) []grpc.DialOption {
	opts = append(append([]tholegrpc.Option{}, opts...), tholegrpc.WithNativeRetriesOff())
	return []grpc.DialOption{
		grpc.WithChainUnaryInterceptor(c.UnaryClientInterceptor(opts...)),
		grpc.WithChainStreamInterceptor(c.StreamClientInterceptor(opts...)),
		grpc.WithDisableRetry(),
	}
}

// UnaryClientInterceptor returns an interceptor that makes each unary call through the policy
// of its method. gRPC's own retries must be switched off.
func (c *Config) UnaryClientInterceptor(opts ...tholegrpc.Option) grpc.UnaryClientInterceptor {
	each := interceptors(c, opts, tholegrpc.UnaryClientInterceptor)
	return func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
		return each[c.find(method)](ctx, method, req, reply, cc, invoker, opts...)
	}
}

// StreamClientInterceptor is [Config.UnaryClientInterceptor] for streams.
func (c *Config) StreamClientInterceptor(opts ...tholegrpc.Option) grpc.StreamClientInterceptor {
	each := interceptors(c, opts, tholegrpc.StreamClientInterceptor)
	return func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return each[c.find(method)](ctx, desc, cc, method, streamer, opts...)
	}
}

// interceptors returns one for each methodConfig.
func interceptors[T any](c *Config, opts []tholegrpc.Option, make func(thole.Policy, ...tholegrpc.Option) T) map[*method]T {
	each := map[*method]T{nothing: make(nothing.policy, opts...)}
	for _, m := range c.methods {
		if _, ok := each[m]; !ok {
			each[m] = make(m.policy, append(slices.Clone(m.options), opts...)...)
		}
	}
	return each
}
