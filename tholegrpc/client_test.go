package tholegrpc_test

import (
	"context"
	"errors"
	"io"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/timeout"
)

// quick is a retry without pauses.
func quick(attempts int) *retry.Retrier {
	return retry.New(retry.Config{MaxAttempts: attempts, Backoff: retry.Constant(0), Budget: thole.NoBudget})
}

func through(p thole.Policy, opts ...tholegrpc.Option) grpc.DialOption {
	return grpc.WithChainUnaryInterceptor(tholegrpc.UnaryClientInterceptor(p, opts...))
}

func TestUnaryClient_success(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		for _, p := range []thole.Policy{nil, quick(3), opaque(quick(3))} {
			c := n.start(t, &service{}, nil, through(p))
			for _, method := range []string{get, post} {
				got, err := c.call(t.Context(), method, "hello")
				require.NoError(t, err)
				assert.Equal(t, "hello", got)
			}
		}
	})
}

func TestUnaryClient_repeatsOnlyWhatIsRepeatable(t *testing.T) {
	named := tholegrpc.WithRepeatable(func(m string) bool { return m == post })
	for name, row := range map[string]struct {
		method string
		mark   func(context.Context) context.Context
		opts   []tholegrpc.Option
		calls  int
	}{
		"no side effects": {get, nil, nil, 2},
		"idempotent":      {put, nil, nil, 2},
		"unknown":         {post, nil, nil, 1},
		"named":           {post, nil, []tholegrpc.Option{named}, 2},
		"other is named":  {get, nil, []tholegrpc.Option{named}, 2},
		"caller says no":  {get, thole.Once, nil, 1},
	} {
		for kind, hide := range map[string]func(thole.Policy) thole.Policy{"blocking": func(p thole.Policy) thole.Policy { return p }, "not": opaque} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s := &service{unary: failing(fail(codes.Unavailable))}
				eye := newSpy()
				c := start(t, s, through(hide(thole.Chain(quick(2), eye)), row.opts...))
				ctx := t.Context()
				if row.mark != nil {
					ctx = row.mark(ctx)
				}
				_, _ = c.call(ctx, row.method, "x")
				assert.EqualValues(t, row.calls, s.calls.Load())
				assert.Equal(t, row.calls == 2, thole.Repeatable(eye.ctxs[0]))
			})
		}
	}
}

// A policy that does not obey Once gets the first run's end again.
func TestUnaryClient_runsOnceWhateverThePolicyDoes(t *testing.T) {
	for kind, hide := range map[string]func(thole.Policy) thole.Policy{"blocking": blockingPolicy, "not": opaque} {
		t.Run(kind, func(t *testing.T) {
			s := &service{unary: failing(fail(codes.Unavailable))}
			c := start(t, s, through(hide(thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
				_ = fn(ctx)
				return fn(ctx)
			}))))
			_, err := c.call(t.Context(), post, "x")
			assert.Equal(t, codes.Unavailable, status.Code(err))
			_, err = c.call(t.Context(), post, "x")
			assert.Error(t, err, "again after a success")
			assert.EqualValues(t, 2, s.calls.Load())

			s.unary = failing(fail(codes.Unavailable))
			_, err = c.call(thole.Once(t.Context()), get, "x")
			assert.Equal(t, codes.Unavailable, status.Code(err), "the caller says no")
			assert.EqualValues(t, 3, s.calls.Load())
		})
	}
}

// blocking is a policy of another make that promises what Blocking means. It embeds none: what
// a type has from an embedded policy is not believed.
type blocking struct{ inner thole.Policy }

func (b blocking) Do(ctx context.Context, fn func(context.Context) error) error {
	return b.inner.Do(ctx, fn)
}
func (blocking) Describe() thole.Description { return thole.Description{Kind: "x", Blocking: true} }

func blockingPolicy(p thole.Policy) thole.Policy { return blocking{p} }

func TestUnaryClient_policyThatRunsNothing(t *testing.T) {
	for _, hide := range []func(thole.Policy) thole.Policy{blockingPolicy, opaque} {
		s := &service{}
		c := start(t, s, through(hide(thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return nil }))))
		_, err := c.call(t.Context(), get, "x")
		assert.Equal(t, codes.Unknown, status.Code(err))
		assert.Zero(t, s.calls.Load())
	}
}

func TestUnaryClient_deadlineTravels(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		left := make(chan time.Duration, 1)
		s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
			d, ok := ctx.Deadline()
			if !ok {
				d = time.Time{}
			}
			left <- time.Until(d)
			return req, nil
		}}
		c := n.start(t, s, nil, through(timeout.New(timeout.Config{Limit: 10 * time.Second})))
		_, err := c.call(t.Context(), post, "x")
		require.NoError(t, err)
		assert.InDelta(t, 10, (<-left).Seconds(), 5)
	})
}

func TestUnaryClient_cancel(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		arrived := make(chan struct{}, 1)
		s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
			arrived <- struct{}{}
			return hang(ctx, req)
		}}
		c := n.start(t, s, nil, through(thole.Chain(quick(3), b)))
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-arrived
			cancel()
		}()
		_, err := c.call(ctx, get, "x")
		assert.Equal(t, codes.Canceled, status.Code(err))
		assert.Equal(t, breaker.Closed, b.State(), "the caller's own cancel")
		assert.EqualValues(t, 1, s.calls.Load())
	})
}

func TestUnaryClient_floor(t *testing.T) {
	s := &service{}
	c := start(t, s, through(nil, tholegrpc.WithFloor(time.Minute)))
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err := c.call(ctx, get, "x")
	assert.ErrorIs(t, err, tholegrpc.ErrExpired)
	assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
	_, err = c.call(t.Context(), get, "x")
	assert.NoError(t, err, "no deadline")
	ctx, cancel = context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	_, err = c.call(ctx, get, "x")
	assert.NoError(t, err)
	assert.EqualValues(t, 2, s.calls.Load())
	assert.Panics(t, func() { tholegrpc.WithFloor(0) })
}

func TestUnaryClient_exempt(t *testing.T) {
	no := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return thole.ErrRejected })
	c := start(t, &service{}, through(no, tholegrpc.WithExempt(tholegrpc.Methods(get, echo+"Pu*")), tholegrpc.WithExempt(nil), nil))
	for method, want := range map[string]codes.Code{get: codes.OK, put: codes.OK, post: codes.Unavailable} {
		_, err := c.call(t.Context(), method, "x")
		assert.Equal(t, want, status.Code(err), method)
	}
	assert.True(t, tholegrpc.HealthAndReflection("/grpc.health.v1.Health/Check"))
	assert.True(t, tholegrpc.HealthAndReflection("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"))
	assert.False(t, tholegrpc.HealthAndReflection(get))
}

func TestUnaryClient_target(t *testing.T) {
	for name, row := range map[string]struct {
		opts []tholegrpc.Option
		want string
	}{
		"dial target":       {nil, "passthrough:///bufconn"},
		"and method":        {[]tholegrpc.Option{tholegrpc.WithMethodTargets()}, "passthrough:///bufconn" + get},
		"of the user's own": {[]tholegrpc.Option{tholegrpc.WithTarget(func(d, m string) string { return m + d })}, get + "passthrough:///bufconn"},
	} {
		t.Run(name, func(t *testing.T) {
			eye := newSpy()
			c := start(t, &service{}, through(eye, row.opts...))
			for range 2 {
				_, err := c.call(t.Context(), get, "x")
				require.NoError(t, err)
			}
			assert.Equal(t, row.want, thole.TargetFrom(eye.ctxs[1]))
		})
	}
}

func TestUnaryClient_attemptHeader(t *testing.T) {
	for kind, p := range map[string]thole.Policy{"blocking": quick(3), "not": opaque(quick(3))} {
		t.Run(kind, func(t *testing.T) {
			var seen []int
			var raw [][]string
			s := &service{}
			s.unary = func(ctx context.Context, req *text) (*text, error) {
				seen = append(seen, tholegrpc.PreviousAttempts(ctx))
				raw = append(raw, metadata.ValueFromIncomingContext(ctx, tholegrpc.AttemptKey))
				return nil, fail(codes.Unavailable)
			}
			c := start(t, s, through(p, tholegrpc.WithAttemptHeader()))
			_, _ = c.call(outgoing("k", "v"), get, "x")
			assert.Equal(t, []int{0, 1, 2}, seen)
			assert.Equal(t, [][]string{nil, {"1"}, {"2"}}, raw, "nothing accumulates")
		})
	}
	in := func(kv ...string) int {
		return tholegrpc.PreviousAttempts(metadata.NewIncomingContext(t.Context(), metadata.Pairs(kv...)))
	}
	assert.Equal(t, 3, in("thole-attempt", "1", "grpc-previous-rpc-attempts", "2"))
	assert.Equal(t, 0, in("thole-attempt", "-1", "grpc-previous-rpc-attempts", "x"))
	assert.Equal(t, 0, in("thole-attempt", "1", "thole-attempt", "2"))
	assert.Equal(t, 0, tholegrpc.PreviousAttempts(t.Context()))
}

// Header, trailer and peer are those of the attempt that is returned; OnFinish comes once.
func TestUnaryClient_callOptions(t *testing.T) {
	for kind, p := range map[string]thole.Policy{"blocking": quick(3), "not": opaque(quick(3))} {
		t.Run(kind, func(t *testing.T) {
			s := &service{}
			s.unary = func(ctx context.Context, req *text) (*text, error) {
				n := strconv.Itoa(int(s.calls.Load()))
				_ = grpc.SetHeader(ctx, metadata.Pairs("n", n))
				_ = grpc.SetTrailer(ctx, metadata.Pairs("n", n))
				if n == "3" {
					return req, nil
				}
				return nil, fail(codes.Unavailable)
			}
			c := start(t, s, through(p))
			var h1, h2, tr metadata.MD
			var pr peer.Peer
			var finished []error
			got, err := c.call(t.Context(), get, "x", grpc.Header(&h1), grpc.Header(&h2), grpc.Trailer(&tr), grpc.Peer(&pr),
				grpc.OnFinish(func(err error) { finished = append(finished, err) }))
			require.NoError(t, err)
			assert.Equal(t, "x", got)
			assert.Equal(t, []string{"3"}, h1["n"])
			assert.Equal(t, []string{"3"}, h2["n"])
			assert.Equal(t, []string{"3"}, tr["n"])
			assert.NotNil(t, pr.Addr)
			assert.Equal(t, []error{nil}, finished)

			// And all failed.
			s.calls.Store(10)
			finished, h1, tr = nil, nil, nil
			_, err = c.call(t.Context(), get, "x", grpc.OnFinish(func(err error) { finished = append(finished, err) }),
				grpc.Header(&h1), grpc.Trailer(&tr), grpc.WaitForReady(true))
			assert.Equal(t, codes.Unavailable, status.Code(err))
			assert.Equal(t, []string{"13"}, tr["n"])
			assert.Equal(t, []error{err}, finished)
		})
	}
}

// An interceptor further in may make calls side by side, each with options of its own behind
// those it got.
func TestUnaryClient_optionsCanBeAppendedTo(t *testing.T) {
	wait := grpc.WaitForReady(true)
	for name, opts := range map[string][]grpc.CallOption{
		"none": nil, "one": {wait}, "three": {wait, wait, wait},
		"without the callback": {wait, grpc.OnFinish(func(error) {}), wait, wait},
	} {
		for kind, p := range map[string]thole.Policy{"blocking": quick(2), "not": opaque(quick(2))} {
			for _, method := range []string{get, post} {
				t.Run(name+" "+kind+method, func(t *testing.T) {
					call := tholegrpc.UnaryClientInterceptor(p)
					require.NoError(t, call(t.Context(), method, say("x"), new(text), nil, func(_ context.Context, _ string, _, _ any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
						var mine, other metadata.MD
						first := append(opts, grpc.Header(&mine))
						_ = append(opts, grpc.Header(&other))
						assert.Same(t, &mine, first[len(opts)].(grpc.HeaderCallOption).HeaderAddr)
						return nil
					}, opts...))
				})
			}
		}
	}
}

// What policies further out see of an interceptor's error is what policies said.
func TestError_isForPoliciesFurtherOut(t *testing.T) {
	open := breaker.New(breaker.Config{Name: "shop"})
	open.Isolate(time.Minute)
	c := start(t, &service{}, through(open))
	_, err := c.call(t.Context(), get, "x")
	assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), err))
	after, ok := thole.RetryAfter(err)
	assert.True(t, ok)
	assert.Greater(t, after, 50*time.Second)
	assert.Equal(t, "rpc error: code = Unavailable desc = breaker[shop]: isolated", err.Error())
	var own *tholegrpc.Error
	assert.ErrorAs(t, err, &own)
}

func TestUnaryClient_panicPassesThrough(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	for _, p := range []thole.Policy{b, opaque(b)} {
		b.Reset()
		i := tholegrpc.UnaryClientInterceptor(p)
		boom := errors.New("boom")
		assert.PanicsWithError(t, "boom", func() {
			_ = i(t.Context(), get, say("x"), new(text), nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				panic(boom)
			})
		})
		assert.Equal(t, breaker.Open, b.State())
	}
}

// An invoker that is not gRPC's may return what is no status.
func TestUnaryClient_errorsThatAreNoStatus(t *testing.T) {
	i := tholegrpc.UnaryClientInterceptor(quick(2))
	for err, code := range map[error]codes.Code{
		io.ErrUnexpectedEOF:      codes.Unknown,
		context.DeadlineExceeded: codes.DeadlineExceeded,
	} {
		got := i(t.Context(), post, say("x"), new(text), nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			return err
		})
		assert.ErrorIs(t, got, err)
		st, ok := status.FromError(got)
		assert.True(t, ok)
		assert.Equal(t, code, st.Code())
	}
}

// An attempt that never came to have a header or trailer does not show those of another.
func TestUnaryClient_nothingIsLeftOfAnAttemptBefore(t *testing.T) {
	for kind, p := range map[string]thole.Policy{"blocking": quick(2), "not": opaque(quick(2))} {
		t.Run(kind, func(t *testing.T) {
			tries := 0
			local := grpc.WithChainUnaryInterceptor(func(ctx context.Context, method string, req, reply any, cc *grpc.ClientConn, invoker grpc.UnaryInvoker, opts ...grpc.CallOption) error {
				if tries++; tries == 2 {
					return fail(codes.Unavailable)
				}
				return invoker(ctx, method, req, reply, cc, opts...)
			})
			s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
				_ = grpc.SetTrailer(ctx, metadata.Pairs("n", "1"))
				return nil, fail(codes.Unavailable)
			}}
			c := start(t, s, through(p), local)
			var header, trailer metadata.MD
			var from peer.Peer
			_, err := c.call(t.Context(), get, "x", grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from))
			assert.Equal(t, codes.Unavailable, status.Code(err))
			assert.Equal(t, 2, tries)
			assert.Empty(t, header)
			assert.Empty(t, trailer)
			assert.Nil(t, from.Addr)
		})
	}
}
