package tholegrpc_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/timeout"
)

// each runs a test for unary calls and for streams; call makes one to its end.
func each(t *testing.T, test func(t *testing.T, call func(ctx context.Context, c *pair, opts ...grpc.CallOption) error)) {
	t.Run("unary", func(t *testing.T) {
		test(t, func(ctx context.Context, c *pair, opts ...grpc.CallOption) error {
			_, err := c.call(ctx, post, "x", opts...)
			return err
		})
	})
	t.Run("stream", func(t *testing.T) {
		test(t, func(ctx context.Context, c *pair, opts ...grpc.CallOption) error {
			s, err := c.open(ctx, bidi, opts...)
			if err != nil {
				return err
			}
			if err := s.CloseSend(); err != nil {
				return err
			}
			if _, err = drain(s); err == io.EOF {
				return nil
			}
			return err
		})
	})
}

// guarded starts a server with a policy.
func guarded(t *testing.T, n network, s *service, p thole.Policy, opts ...tholegrpc.Option) *pair {
	return n.start(t, s, tholegrpc.ServerOptions(p, opts...))
}

// both makes a service whose unary calls and streams do the same.
func both(f func(ctx context.Context) error) *service {
	return &service{
		unary:  func(ctx context.Context, req *text) (*text, error) { return req, f(ctx) },
		stream: func(_ string, ss grpc.ServerStream) error { return f(ss.Context()) },
	}
}

func TestServer_rule49_rejections(t *testing.T) {
	open := breaker.New(breaker.Config{Name: "shop"})
	open.Isolate(time.Minute)
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	_, err := full.Acquire(t.Context())
	require.NoError(t, err)
	for name, row := range map[string]struct {
		policy   thole.Policy
		code     codes.Code
		pushback string        // "" is some time up to a minute
		info     time.Duration // 0: there is none
	}{
		"open":    {open, codes.Unavailable, "", time.Minute},
		"full":    {full, codes.Unavailable, "1000", time.Second},
		"denied":  {ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second)}), codes.ResourceExhausted, "-1", 0},
		"burst":   {reject(ratelimit.ErrBurst), codes.ResourceExhausted, "-1", 0},
		"shed":    {reject(thole.Rejection(thole.ReasonShed, "shed")), codes.Unavailable, "1000", time.Second},
		"expired": {reject(tholegrpc.ErrExpired), codes.DeadlineExceeded, "-1", 0},
	} {
		t.Run(name, func(t *testing.T) {
			overEach(t, func(t *testing.T, n network) {
				each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
					s := &service{}
					c := guarded(t, n, s, row.policy)
					var trailer metadata.MD
					finish := grpc.Trailer(&trailer)
					err := call(t.Context(), c, finish)
					st := status.Convert(err)
					assert.Equal(t, row.code, st.Code())
					assert.Zero(t, s.calls.Load())
					require.Len(t, trailer["grpc-retry-pushback-ms"], 1)
					if row.pushback != "" {
						assert.Equal(t, row.pushback, trailer["grpc-retry-pushback-ms"][0])
					}
					if row.info == 0 {
						assert.Empty(t, st.Details())
						return
					}
					require.Len(t, st.Details(), 1)
					info := st.Details()[0].(*errdetails.RetryInfo)
					assert.InDelta(t, row.info.Seconds(), info.RetryDelay.AsDuration().Seconds(), 2)
				})
			})
		})
	}
}

func reject(err error) thole.Policy {
	return thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return err })
}

// The side that rejected finds its policy's error, here an interceptor further out.
func TestServer_rule49_errorsIsHoldsHere(t *testing.T) {
	open := breaker.New(breaker.Config{})
	open.Isolate(time.Minute)
	_, err := tholegrpc.UnaryServerInterceptor(open)(t.Context(), say("x"), &grpc.UnaryServerInfo{FullMethod: get}, nil)
	assert.ErrorIs(t, err, breaker.ErrOpen)
	assert.ErrorIs(t, err, thole.ErrRejected)
	assert.Equal(t, codes.Unavailable, status.Code(err))
}

func TestServer_rule50_outcomeOfTheHandler(t *testing.T) {
	for name, row := range map[string]struct {
		err  error
		want thole.Outcome
		code codes.Code
	}{
		"nil":         {nil, thole.Success, codes.OK},
		"answer":      {fail(codes.NotFound), thole.Success, codes.NotFound},
		"failure":     {fail(codes.Internal), thole.Failure, codes.Internal},
		"unavailable": {fail(codes.Unavailable), thole.Failure, codes.Unavailable},
		"plain":       {errors.New("plain"), thole.Failure, codes.Unknown},
		"cancelled":   {fail(codes.Canceled), thole.Ignored, codes.Canceled},
		"a downstream's rejection is this handler's failure": {
			&joined{fail(codes.Unavailable), thole.ErrRejected}, thole.Failure, codes.Unavailable},
	} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
				eye := newSpy()
				s := both(func(context.Context) error { return row.err })
				again := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					err := eye.Do(ctx, fn)
					_ = fn(ctx) // a policy that does not obey Once
					return err
				})
				c := guarded(t, networks[0], s, thole.Chain(quick(3), again))
				err := call(t.Context(), c)
				assert.Equal(t, row.code, status.Code(err))
				if row.err != nil {
					assert.Equal(t, status.Convert(row.err).Message(), status.Convert(err).Message())
				}
				assert.Equal(t, row.want, thole.OutcomeOf(context.Background(), <-eye.errs))
				assert.EqualValues(t, 1, s.calls.Load(), "a handler runs once")
			})
		})
	}
}

// several is an error that can't be compared, like those of many validators.
type several []string

func (s several) Error() string { return strings.Join(s, ", ") }

func TestServer_errorsThatCannotBeCompared(t *testing.T) {
	want := several{"name is empty", "age is negative"}
	plain := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		return thole.Unmark(fn(ctx))
	})
	for _, p := range []thole.Policy{nil, quick(2), plain} {
		each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
			err := call(t.Context(), guarded(t, networks[0], both(func(context.Context) error { return want }), p))
			assert.Equal(t, codes.Unknown, status.Code(err))
			assert.Equal(t, want.Error(), status.Convert(err).Message())
		})
	}
}

// joined is a status error with another in its tree.
type joined struct {
	error
	other error
}

func (j *joined) GRPCStatus() *status.Status { return status.Convert(j.error) }
func (j *joined) Unwrap() []error            { return []error{j.error, j.other} }

func TestServer_rule49_timeout(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
			limit := timeout.New(timeout.Config{Limit: 20 * ms})
			had := make(chan bool, 1)
			c := guarded(t, n, both(func(ctx context.Context) error {
				_, ok := ctx.Deadline()
				had <- ok
				<-ctx.Done()
				return ctx.Err()
			}), limit)
			err := call(t.Context(), c)
			assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
			assert.True(t, <-had, "the handler's context carries the deadline")
			assert.Equal(t, 1, limit.Stats().Timeouts)
		})
	})
}

// The permit is held until the handler returns, however it does.
func TestServer_rule52_permitUntilTheHandlerReturns(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
			full := bulkhead.New(bulkhead.Config{Limit: 1})
			begun := make(chan struct{})
			c := guarded(t, n, both(func(ctx context.Context) error {
				begun <- struct{}{}
				<-ctx.Done()
				return ctx.Err()
			}), full)
			ctx, cancel := context.WithCancel(t.Context())
			first := make(chan error, 1)
			go func() { first <- call(ctx, c) }()
			<-begun
			assert.Equal(t, 1, full.Stats().InUse)
			assert.Equal(t, codes.Unavailable, status.Code(call(t.Context(), c)))
			cancel()
			assert.Equal(t, codes.Canceled, status.Code(<-first))
			assert.True(t, soon(func() bool { return full.Stats().InUse == 0 }))
		})
	})
}

// A client that goes away while it waits for its turn leaves its place.
func TestServer_rule52_clientGoneWhileQueued(t *testing.T) {
	each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
		full := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
		release, err := full.Acquire(t.Context())
		require.NoError(t, err)
		defer release()
		s := &service{}
		c := guarded(t, networks[0], s, full)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			soon(func() bool { return full.Stats().Waiting == 1 })
			cancel()
		}()
		assert.Equal(t, codes.Canceled, status.Code(call(ctx, c)))
		assert.True(t, soon(func() bool { return full.Stats().Waiting == 0 }))
		assert.Zero(t, s.calls.Load())
	})
}

func TestServer_panicAndGoexitOfTheHandler(t *testing.T) {
	boom := errors.New("boom")
	for name, leave := range map[string]func(){"panic": func() { panic(boom) }, "Goexit": runtime.Goexit} {
		t.Run(name, func(t *testing.T) {
			full := bulkhead.New(bulkhead.Config{Limit: 1})
			b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
			p := thole.Chain(full, b)
			unary := func() {
				_, _ = tholegrpc.UnaryServerInterceptor(p)(t.Context(), say("x"), &grpc.UnaryServerInfo{FullMethod: get},
					func(context.Context, any) (any, error) { leave(); return nil, nil })
			}
			stream := func() {
				_ = tholegrpc.StreamServerInterceptor(p)(nil, stub{ctx: t.Context()}, &grpc.StreamServerInfo{FullMethod: bidi},
					func(any, grpc.ServerStream) error { leave(); return nil })
			}
			for _, call := range []func(){unary, stream} {
				b.Reset()
				left := make(chan any, 1)
				go func() {
					defer func() { left <- recover() }()
					call()
				}()
				if v := <-left; name == "panic" {
					assert.Equal(t, boom, v)
				}
				assert.Equal(t, 0, full.Stats().InUse)
				assert.Equal(t, breaker.Open, b.State())
			}
		})
	}
}

type stub struct {
	grpc.ServerStream
	ctx context.Context
}

func (s stub) Context() context.Context  { return s.ctx }
func (s stub) SetTrailer(md metadata.MD) {}

// What the policies note about the handler's run is not for the calls the handler makes.
func TestServer_marksEndAtTheHandler(t *testing.T) {
	each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
		eye := newSpy()
		c := guarded(t, networks[0], both(func(ctx context.Context) error {
			assert.True(t, thole.Repeatable(ctx))
			assert.Empty(t, thole.TargetFrom(ctx))
			assert.Nil(t, thole.LifetimeFrom(ctx))
			return nil
		}), eye)
		require.NoError(t, call(t.Context(), c))
		<-eye.errs
		assert.False(t, thole.Repeatable(eye.ctxs[0]))
		assert.Contains(t, []string{post, bidi}, thole.TargetFrom(eye.ctxs[0]))
	})
}

// A policy may leave early; the call does not end before its handler, or its stream would be
// used after its end.
func TestServer_waitsForTheHandler(t *testing.T) {
	leaves := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		begun := make(chan struct{})
		go func() {
			_ = fn(context.WithValue(ctx, begunKey{}, begun))
		}()
		<-begun
		return errors.New("left early")
	})
	returned := false
	_, err := tholegrpc.UnaryServerInterceptor(leaves)(t.Context(), say("x"), &grpc.UnaryServerInfo{FullMethod: get},
		func(ctx context.Context, req any) (any, error) {
			close(ctx.Value(begunKey{}).(chan struct{}))
			for range 1000 {
				runtime.Gosched()
			}
			returned = true
			return req, nil
		})
	assert.True(t, returned)
	assert.Equal(t, codes.Unknown, status.Code(err))
}

type begunKey struct{}

func TestServer_floorAndExempt(t *testing.T) {
	each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
		s := &service{}
		c := guarded(t, networks[0], s, nil, tholegrpc.WithFloor(time.Hour))
		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		var trailer metadata.MD
		assert.Equal(t, codes.DeadlineExceeded, status.Code(call(ctx, c, grpc.Trailer(&trailer))))
		assert.Equal(t, []string{"-1"}, trailer["grpc-retry-pushback-ms"])
		assert.NoError(t, call(t.Context(), c))
		assert.EqualValues(t, 1, s.calls.Load())

		no := reject(thole.ErrRejected)
		c = guarded(t, networks[0], s, no, tholegrpc.WithExempt(tholegrpc.Methods(echo+"*")))
		assert.NoError(t, call(t.Context(), c))
	})
}

// A policy that makes light of what happened.
func TestServer_policiesWithTheirOwnMind(t *testing.T) {
	never := reject(nil)
	swallow := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		_ = fn(ctx)
		return nil
	})
	recovers := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) (err error) {
		defer func() { _ = recover() }()
		return fn(ctx)
	})
	spoils := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		_ = fn(ctx)
		return errors.New("spoilt")
	})
	each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
		fails := func(context.Context) error { return fail(codes.Internal) }
		for name, row := range map[string]struct {
			policy thole.Policy
			serve  func(context.Context) error
			code   codes.Code
		}{
			"runs nothing":      {never, fails, codes.Internal},
			"swallows an error": {swallow, fails, codes.Internal},
			"recovers":          {recovers, func(context.Context) error { panic("boom") }, codes.Internal},
			"spoils a success":  {spoils, func(context.Context) error { return nil }, codes.Unknown},
		} {
			assert.Equal(t, row.code, status.Code(call(t.Context(), guarded(t, networks[0], both(row.serve), row.policy))), name)
		}
	})
}

// A policy that answers in the handler's place with a status, as one that asks who the client
// is may, has it sent as it is. No time is told where nobody was refused for a time.
func TestServer_statusOfAPolicysOwnMaking(t *testing.T) {
	st, err := status.New(codes.Unauthenticated, "who are you").WithDetails(&errdetails.ErrorInfo{Reason: "NO_TOKEN"})
	require.NoError(t, err)
	for name, p := range map[string]thole.Policy{"plain": reject(st.Err()), "marked": reject(thole.Permanent(st.Err()))} {
		t.Run(name, func(t *testing.T) {
			each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
				var trailer metadata.MD
				got := status.Convert(call(t.Context(), guarded(t, networks[0], &service{}, p), grpc.Trailer(&trailer)))
				assert.Equal(t, st.Proto().String(), got.Proto().String())
				assert.Empty(t, trailer["grpc-retry-pushback-ms"])
			})
		})
	}
}

// A server's rejections are not its callee's failures: a breaker around its handlers, inside
// of a bulkhead that is full, hears nothing of them.
func TestServer_rejectionsAreNotFailures(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	release, err := full.Acquire(t.Context())
	require.NoError(t, err)
	each(t, func(t *testing.T, call func(context.Context, *pair, ...grpc.CallOption) error) {
		c := guarded(t, networks[0], &service{}, thole.Chain(b, full))
		for range 3 {
			assert.Equal(t, codes.Unavailable, status.Code(call(t.Context(), c)))
		}
		assert.Equal(t, breaker.Closed, b.State())
	})
	release()
}

// A client with retries meets a server that is full for a while: it comes again when told.
func TestBothSides_pushbackIsObeyed(t *testing.T) {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, 50*ms)})
	n := networks[0]
	c := n.start(t, &service{}, tholegrpc.ServerOptions(limiter), tholegrpc.DialOptions(quick(2))...)
	begin := time.Now()
	for range 3 {
		_, err := c.call(t.Context(), get, "x")
		require.NoError(t, err)
	}
	assert.GreaterOrEqual(t, time.Since(begin), 90*ms)
}
