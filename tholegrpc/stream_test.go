package tholegrpc_test

import (
	"context"
	"errors"
	"io"
	"runtime"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/timeout"
)

func throughStream(p thole.Policy, opts ...tholegrpc.Option) grpc.DialOption {
	return grpc.WithChainStreamInterceptor(tholegrpc.StreamClientInterceptor(p, opts...))
}

func (p *pair) open(ctx context.Context, method string, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	return p.NewStream(ctx, streamDescs[method], method, opts...)
}

// drain receives until the stream ends.
func drain(s grpc.ClientStream) (got []string, err error) {
	for {
		m := new(text)
		if err := s.RecvMsg(m); err != nil {
			return got, err
		}
		got = append(got, m.Value)
	}
}

// waitStream is a handler that says that it has begun, and then waits for its client.
func waitStream(begun chan<- struct{}) func(string, grpc.ServerStream) error {
	return func(_ string, ss grpc.ServerStream) error {
		if err := ss.SendHeader(metadata.Pairs("h", "1")); err != nil {
			return err
		}
		begun <- struct{}{}
		<-ss.Context().Done()
		return ss.Context().Err()
	}
}

// A stream's permit and outcome, by each way in which it can end.
func TestStreamClient_rule52_everyEnd(t *testing.T) {
	type client struct {
		*pair
		grpc.ClientStream
		cancel context.CancelFunc
	}
	recv := func(t *testing.T, c client) {
		_, err := drain(c.ClientStream)
		assert.Error(t, err)
	}
	for name, row := range map[string]struct {
		method string
		serve  func(string, grpc.ServerStream) error // nil waits
		opts   []grpc.CallOption
		end    func(t *testing.T, c client)
		want   thole.Outcome
		prompt bool // the permit is back when end returns
	}{
		"EOF": {bidi, func(string, grpc.ServerStream) error { return nil }, nil, recv, thole.Success, true},
		"error": {bidi, func(string, grpc.ServerStream) error { return fail(codes.Unavailable) }, nil, recv,
			thole.Failure, true},
		"answer": {bidi, func(string, grpc.ServerStream) error { return fail(codes.NotFound) }, nil, recv,
			thole.Success, true},
		"single reply": {up, func(_ string, ss grpc.ServerStream) error { return ss.SendMsg(say("x")) }, nil,
			func(t *testing.T, c client) { assert.NoError(t, c.ClientStream.RecvMsg(new(text))) }, thole.Success, true},
		"single reply of a unary call": {oneShot, func(_ string, ss grpc.ServerStream) error { return ss.SendMsg(say("x")) }, nil,
			func(t *testing.T, c client) { assert.NoError(t, c.ClientStream.RecvMsg(new(text))) }, thole.Success, true},
		"SendMsg": {bidi, nil, []grpc.CallOption{grpc.MaxCallSendMsgSize(1)},
			func(t *testing.T, c client) { assert.Error(t, c.ClientStream.SendMsg(say("too large"))) }, thole.Ignored, true},
		"cancelled": {bidi, nil, nil, func(t *testing.T, c client) { c.cancel() }, thole.Ignored, false},
		"cancelled while receiving": {down, nil, nil, func(t *testing.T, c client) {
			go c.cancel()
			_, err := drain(c.ClientStream)
			assert.Equal(t, codes.Canceled, status.Code(err))
		}, thole.Ignored, true},
		"Header": {bidi, nil, nil, func(t *testing.T, c client) {
			c.cancel()
			_, err := c.ClientStream.Header()
			if err == nil { // it was there already
				_, err = drain(c.ClientStream)
			}
			assert.Error(t, err)
		}, thole.Ignored, true},
		"ClientConn closed": {bidi, nil, nil, func(t *testing.T, c client) { _ = c.Close() }, thole.Ignored, false},
		"server gone":       {bidi, nil, nil, func(t *testing.T, c client) { c.server.Stop(); recv(t, c) }, thole.Failure, true},
	} {
		t.Run(name, func(t *testing.T) {
			overEach(t, func(t *testing.T, n network) {
				noGoroutines(t)
				begun := make(chan struct{}, 1)
				s := &service{stream: row.serve}
				if row.serve == nil {
					s.stream = waitStream(begun)
				}
				eye := newSpy()
				full := bulkhead.New(bulkhead.Config{Limit: 1})
				c := client{pair: n.start(t, s, nil, throughStream(thole.Chain(full, eye)))}
				var ctx context.Context
				ctx, c.cancel = context.WithCancel(t.Context())
				defer c.cancel()
				var err error
				finished := make(chan error, 9)
				c.ClientStream, err = c.open(ctx, row.method, append(row.opts,
					grpc.OnFinish(func(err error) { finished <- err }))...)
				require.NoError(t, err)
				if row.serve == nil {
					<-begun
				}
				assert.Equal(t, 1, full.Stats().InUse)
				_, err = c.open(ctx, row.method)
				assert.ErrorIs(t, err, bulkhead.ErrFull)
				row.end(t, c)
				if row.prompt {
					assert.Equal(t, 0, full.Stats().InUse)
				}
				assert.Equal(t, row.want, thole.OutcomeOf(context.Background(), <-eye.errs))
				assert.True(t, soon(func() bool { return full.Stats().InUse == 0 }))
				assert.Empty(t, eye.errs, "one outcome")
				<-finished
				assert.Empty(t, finished)
			})
		})
	}
}

func TestStreamClient_rule52_deadlineOfTheCaller(t *testing.T) {
	noGoroutines(t)
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	c := start(t, &service{stream: waitStream(make(chan struct{}, 1))}, throughStream(b))
	ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
	defer cancel()
	s, err := c.open(ctx, down)
	require.NoError(t, err)
	_, err = drain(s)
	assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
	assert.Equal(t, breaker.Open, b.State(), "the server was too slow")
}

// The breaker hears of a stream when it ends, not when it is there.
func TestStreamClient_rule52_breakerSeesTheEnd(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	c := start(t, &service{stream: func(_ string, ss grpc.ServerStream) error {
		_ = ss.SendMsg(say("x"))
		_ = ss.RecvMsg(new(text))
		return fail(codes.Internal)
	}}, throughStream(b))
	s, err := c.open(t.Context(), bidi)
	require.NoError(t, err)
	require.NoError(t, s.RecvMsg(new(text)))
	assert.Equal(t, breaker.Closed, b.State())
	require.NoError(t, s.CloseSend())
	_, err = drain(s)
	assert.Equal(t, "*status.Error", typeOf(err))
	assert.Equal(t, codes.Internal, status.Code(err))
	assert.Equal(t, breaker.Open, b.State())
	_, err = c.open(t.Context(), bidi)
	assert.ErrorIs(t, err, breaker.ErrOpen)
	assert.Equal(t, codes.Unavailable, status.Code(err))
}

// What fails before there is a stream may be tried again; what fails later not, for no server
// is to see the messages twice.
func TestStreamClient_rule52_retriesEstablishingOnly(t *testing.T) {
	for kind, hide := range map[string]func(thole.Policy) thole.Policy{"blocking": func(p thole.Policy) thole.Policy { return p }, "not": opaque} {
		t.Run(kind, func(t *testing.T) {
			s := &service{stream: func(string, grpc.ServerStream) error { return fail(codes.Unavailable) }}
			tries := 0
			flaky := grpc.WithChainStreamInterceptor(func(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
				if tries++; tries < 3 {
					return nil, fail(codes.Unavailable)
				}
				return streamer(ctx, desc, cc, method, opts...)
			})
			c := start(t, s, throughStream(hide(quick(5))), flaky)
			stream, err := c.open(t.Context(), bidi)
			require.NoError(t, err)
			assert.Equal(t, 3, tries)
			_, err = drain(stream)
			assert.Equal(t, codes.Unavailable, status.Code(err))
			assert.Equal(t, "*status.Error", typeOf(err), "nothing that a retry added")
			assert.EqualValues(t, 1, s.calls.Load())
			assert.Equal(t, 3, tries)
		})
	}
}

func TestStreamClient_establishingFails(t *testing.T) {
	noGoroutines(t)
	down := grpc.WithChainStreamInterceptor(func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
		return nil, fail(codes.Unavailable)
	})
	c := start(t, &service{}, throughStream(quick(3)), down)
	var finished []error
	_, err := c.open(t.Context(), bidi, grpc.OnFinish(func(err error) { finished = append(finished, err) }))
	assert.Equal(t, codes.Unavailable, status.Code(err))
	assert.Equal(t, []error{err}, finished)
}

func TestStreamClient_neverHedged(t *testing.T) {
	h := hedge.New(hedge.Config{Delay: time.Microsecond, Budget: thole.NoBudget})
	for name, p := range map[string]thole.Policy{"known": h, "unknown": opaque(h), "in a chain": thole.Chain(quick(2), h)} {
		t.Run(name, func(t *testing.T) {
			noGoroutines(t)
			begun := make(chan struct{}, 9)
			s := &service{stream: waitStream(begun)}
			c := start(t, s, throughStream(p))
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			stream, err := c.open(ctx, down)
			require.NoError(t, err)
			<-begun
			timer := time.NewTimer(20 * ms)
			<-timer.C
			assert.EqualValues(t, 1, s.calls.Load())
			cancel()
			_, err = drain(stream)
			assert.Equal(t, codes.Canceled, status.Code(err))
		})
	}
}

// A time limit covers the establishing, unless it is to cover the whole.
func TestStreamClient_timeLimit(t *testing.T) {
	limit := timeout.New(timeout.Config{Limit: 100 * ms})
	deadline := make(chan bool, 1)
	s := &service{stream: func(_ string, ss grpc.ServerStream) error {
		_, ok := ss.Context().Deadline()
		deadline <- ok
		return echoStream(bidi, ss)
	}}
	t.Run("establishing", func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		c := start(t, s, throughStream(thole.Chain(b, quick(3), limit)))
		stream, err := c.open(t.Context(), bidi)
		require.NoError(t, err)
		assert.False(t, <-deadline)
		timer := time.NewTimer(150 * ms)
		<-timer.C
		require.NoError(t, stream.SendMsg(say("late")))
		require.NoError(t, stream.RecvMsg(new(text)))
		require.NoError(t, stream.CloseSend())
		_, err = drain(stream)
		assert.Equal(t, io.EOF, err)
		assert.Equal(t, 0, limit.Stats().Timeouts)

		// Nor does it take the blame for the caller's own end.
		ctx, cancel := context.WithCancel(t.Context())
		stream, err = c.open(ctx, bidi)
		require.NoError(t, err)
		<-deadline
		timer.Reset(150 * ms)
		<-timer.C
		cancel()
		_, err = drain(stream)
		assert.Equal(t, codes.Canceled, status.Code(err))
		assert.NotErrorIs(t, err, timeout.ErrTimeout)
		assert.Equal(t, 0, limit.Stats().Timeouts)
		assert.Equal(t, breaker.Closed, b.State())
	})
	t.Run("cause", func(t *testing.T) {
		c := start(t, s, throughStream(thole.Chain(quick(3), limit))) // tried again if the machine is busy
		ctx, cancel := context.WithCancelCause(t.Context())
		stream, err := c.open(ctx, bidi)
		require.NoError(t, err)
		<-deadline
		timer := time.NewTimer(150 * ms)
		<-timer.C
		own, mine := stream.Context(), errors.New("mine")
		cancel(mine)
		<-own.Done()
		assert.Equal(t, mine, context.Cause(own), "not the limit, which has passed")
		_, err = drain(stream)
		assert.Equal(t, codes.Canceled, status.Code(err))

		var cause error
		hangs := grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
			child, cancel := context.WithCancel(ctx)
			defer cancel()
			<-child.Done()
			cause = context.Cause(child)
			return nil, status.FromContextError(ctx.Err()).Err()
		})
		_, err = start(t, s, throughStream(limit), hangs).open(t.Context(), bidi)
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		assert.ErrorIs(t, cause, timeout.ErrTimeout)
	})
	t.Run("establishing takes too long", func(t *testing.T) {
		for _, opt := range [][]tholegrpc.Option{nil, {tholegrpc.WithWholeStream()}} {
			hangs := grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				<-ctx.Done()
				return nil, status.FromContextError(ctx.Err()).Err()
			})
			c := start(t, s, throughStream(limit, opt...), hangs)
			_, err := c.open(t.Context(), bidi)
			assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
			assert.ErrorIs(t, err, timeout.ErrTimeout)
		}
	})
	t.Run("establishing fails when the time is up", func(t *testing.T) {
		for _, opt := range [][]tholegrpc.Option{nil, {tholegrpc.WithWholeStream()}} {
			fails := grpc.WithChainStreamInterceptor(func(ctx context.Context, _ *grpc.StreamDesc, _ *grpc.ClientConn, _ string, _ grpc.Streamer, _ ...grpc.CallOption) (grpc.ClientStream, error) {
				<-ctx.Done()
				return nil, fail(codes.PermissionDenied)
			})
			c := start(t, s, throughStream(limit, opt...), fails)
			_, err := c.open(t.Context(), bidi)
			assert.Equal(t, "*status.Error", typeOf(err), "an unrelated error stays as it is")
			assert.Equal(t, codes.PermissionDenied, status.Code(err))
		}
	})
	t.Run("whole", func(t *testing.T) {
		c := start(t, s, throughStream(thole.Chain(quick(3), limit), tholegrpc.WithWholeStream()))
		stream, err := c.open(t.Context(), bidi)
		require.NoError(t, err)
		_, err = drain(stream)
		assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		if len(deadline) > 0 { // it came that far
			assert.True(t, <-deadline)
		}
	})
}

func TestStreamClient_exemptFloorAndTarget(t *testing.T) {
	eye := newSpy()
	c := start(t, &service{}, throughStream(eye, tholegrpc.WithExempt(tholegrpc.Methods(up)), tholegrpc.WithFloor(time.Minute)))
	s, err := c.open(t.Context(), up)
	require.NoError(t, err)
	require.NoError(t, s.CloseSend())
	require.NoError(t, s.RecvMsg(new(text)))
	assert.Empty(t, eye.ctxs)
	ctx, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = c.open(ctx, bidi)
	assert.ErrorIs(t, err, tholegrpc.ErrExpired)
	assert.Empty(t, eye.ctxs)
	s, err = c.open(t.Context(), bidi)
	require.NoError(t, err)
	require.NoError(t, s.CloseSend())
	_, err = drain(s)
	assert.Equal(t, io.EOF, err)
	assert.Equal(t, "passthrough:///bufconn", thole.TargetFrom(eye.ctxs[0]))
}

// A policy's panic is raised where its caller is.
func TestStreamClient_policyPanics(t *testing.T) {
	noGoroutines(t)
	boom := errors.New("boom")
	before := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { panic(boom) })
	c := start(t, &service{}, throughStream(before))
	assert.PanicsWithError(t, "boom", func() { _, _ = c.open(t.Context(), bidi) })

	after := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { _ = fn(ctx); panic(boom) })
	c = start(t, &service{}, throughStream(after))
	s, err := c.open(t.Context(), bidi)
	require.NoError(t, err)
	require.NoError(t, s.CloseSend())
	assert.PanicsWithError(t, "boom", func() { _, _ = drain(s) })
}

// So is a Goexit, as of a test's FailNow further in, and what a callback panics with.
func TestStreamClient_goexitAndPanicOfACallback(t *testing.T) {
	leaves := grpc.WithChainStreamInterceptor(func(context.Context, *grpc.StreamDesc, *grpc.ClientConn, string, grpc.Streamer, ...grpc.CallOption) (grpc.ClientStream, error) {
		runtime.Goexit()
		return nil, nil
	})
	c := start(t, &service{}, throughStream(quick(2)), leaves)
	returned, finished := make(chan error, 1), make(chan error, 1)
	go func() {
		defer close(returned)
		_, err := c.open(t.Context(), bidi, grpc.OnFinish(func(err error) { finished <- err }))
		returned <- err
	}()
	for err := range returned {
		t.Errorf("returned %v", err)
	}
	assert.Equal(t, codes.Internal, status.Code(<-finished))

	c = start(t, &service{}, throughStream(quick(2), tholegrpc.WithFloor(time.Second)))
	boom := errors.New("boom")
	panics := grpc.OnFinish(func(error) { panic(boom) })
	s, err := c.open(t.Context(), bidi, panics)
	require.NoError(t, err)
	require.NoError(t, s.CloseSend())
	assert.PanicsWithError(t, "boom", func() { _, _ = drain(s) })
	ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
	defer cancel()
	assert.PanicsWithError(t, "boom", func() { _, _ = c.open(ctx, bidi, panics) })
}

// A policy that runs an ended stream again gets the end again.
func TestStreamClient_policyRunsAgain(t *testing.T) {
	s := &service{stream: func(string, grpc.ServerStream) error { return fail(codes.NotFound) }}
	c := start(t, s, throughStream(thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		_ = fn(ctx)
		return fn(ctx)
	})))
	stream, err := c.open(t.Context(), bidi)
	require.NoError(t, err)
	_, err = drain(stream)
	assert.Equal(t, codes.NotFound, status.Code(err))
	assert.EqualValues(t, 1, s.calls.Load())
}

func TestStreamClient_thousandStreamsLeaveNothing(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		ctx, cancel := context.WithCancel(context.Background())
		defer cancel()
		b := bulkhead.New(bulkhead.Config{Limit: 8})
		begun := make(chan struct{}, 1000)
		c := n.start(t, &service{}, nil, throughStream(thole.Chain(b, standard.Client())))
		slow := n.start(t, &service{stream: waitStream(begun)}, nil, throughStream(thole.Chain(b, standard.Client())))
		one := func(i int) {
			switch i % 4 {
			case 0:
				s, err := c.open(ctx, bidi)
				require.NoError(t, err)
				require.NoError(t, s.SendMsg(say("x")))
				require.NoError(t, s.CloseSend())
				got, err := drain(s)
				assert.Equal(t, io.EOF, err)
				assert.Equal(t, []string{"x"}, got)
			case 1:
				s, err := c.open(ctx, up)
				require.NoError(t, err)
				require.NoError(t, s.CloseSend())
				require.NoError(t, s.RecvMsg(new(text)))
			case 2:
				own, cancel := context.WithCancel(ctx)
				_, err := slow.open(own, bidi)
				require.NoError(t, err)
				cancel()
				assert.True(t, soon(func() bool { return b.Stats().InUse == 0 }))
			case 3:
				s, err := c.NewStream(ctx, &grpc.StreamDesc{ServerStreams: true}, nowhere)
				require.NoError(t, err)
				_, err = drain(s)
				assert.Equal(t, codes.Unimplemented, status.Code(err))
			}
		}
		for i := range 8 {
			one(i)
		}
		before := goroutines(t)
		for i := range 1000 {
			one(i)
		}
		settles(t, before)
		assert.True(t, soon(func() bool { return b.Stats().InUse == 0 }))
	})
}
