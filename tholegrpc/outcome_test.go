package tholegrpc_test

import (
	"context"
	"fmt"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
	"github.com/thole-go/thole/timeout"
)

// The table of codes: what policies make of each, and what the caller gets.
func TestUnaryClient_rule50_outcomeOfEachCode(t *testing.T) {
	answers := []codes.Code{codes.NotFound, codes.AlreadyExists, codes.InvalidArgument, codes.FailedPrecondition,
		codes.OutOfRange, codes.PermissionDenied, codes.Unauthenticated, codes.Unimplemented}
	want := map[codes.Code]thole.Outcome{codes.Canceled: thole.Ignored}
	for _, code := range answers {
		want[code] = thole.Success
	}
	for code := codes.Canceled; code <= codes.Unauthenticated; code++ {
		for name, hide := range map[string]func(thole.Policy) thole.Policy{
			"blocking": func(p thole.Policy) thole.Policy { return p }, "not": opaque,
		} {
			t.Run(code.String()+" "+name, func(t *testing.T) {
				wanted, ok := want[code]
				if !ok {
					wanted = thole.Failure
				}
				assert.Equal(t, wanted, tholegrpc.DefaultOutcome(code))
				s := &service{unary: failing(fail(code), fail(code), fail(code))}
				eye := newSpy()
				c := start(t, s, through(hide(thole.Chain(quick(3), eye))))
				_, err := c.call(t.Context(), get, "x")
				assert.Equal(t, code, status.Code(err))
				assert.Equal(t, "no: "+code.String(), status.Convert(err).Message())
				assert.Equal(t, wanted, thole.OutcomeOf(t.Context(), eye.runs[0]))
				calls := 1
				if code == codes.Unavailable {
					calls = 3
					assert.ErrorIs(t, err, retry.ErrExhausted)
				} else {
					assert.Equal(t, "*status.Error", typeOf(err), "as gRPC returned it")
				}
				assert.EqualValues(t, calls, s.calls.Load())
				assert.Len(t, eye.runs, calls)
			})
		}
	}
	assert.Equal(t, thole.Failure, tholegrpc.DefaultOutcome(77))
	assert.Equal(t, thole.Success, tholegrpc.DefaultOutcome(codes.OK))
}

func TestUnaryClient_rule50_breakerCountsByTheTable(t *testing.T) {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
	s := &service{unary: func(_ context.Context, req *text) (*text, error) {
		n, _ := strconv.Atoi(req.Value)
		return nil, fail(codes.Code(n))
	}}
	c := start(t, s, through(b))
	call := func(code codes.Code) error {
		_, err := c.call(t.Context(), post, strconv.Itoa(int(code)))
		return err
	}
	for range 5 {
		for _, code := range []codes.Code{codes.NotFound, codes.Internal, codes.InvalidArgument} {
			assert.Equal(t, code, status.Code(call(code)))
		}
	}
	assert.Equal(t, breaker.Closed, b.State(), "answers are successes")
	_, _ = call(codes.Unavailable), call(codes.Unavailable)
	assert.Equal(t, breaker.Open, b.State())
}

func TestUnaryClient_rule50_retryCodes(t *testing.T) {
	for name, row := range map[string]struct {
		err   error
		opts  []tholegrpc.Option
		calls int
	}{
		"unavailable":              {fail(codes.Unavailable), nil, 2},
		"aborted":                  {fail(codes.Aborted), nil, 1},
		"aborted, named":           {fail(codes.Aborted), []tholegrpc.Option{tholegrpc.WithRetryCodes(codes.Aborted)}, 2},
		"an answer, named":         {fail(codes.NotFound), []tholegrpc.Option{tholegrpc.WithRetryCodes(codes.NotFound)}, 2},
		"exhausted":                {fail(codes.ResourceExhausted), nil, 1},
		"exhausted, RetryInfo":     {withInfo(codes.ResourceExhausted, 0), nil, 2},
		"exhausted, never":         {withInfo(codes.ResourceExhausted, -1), nil, 1},
		"unavailable, never":       {withInfo(codes.Unavailable, -1), nil, 1},
		"internal, RetryInfo":      {withInfo(codes.Internal, 0), nil, 1},
		"the server's own timeout": {fail(codes.DeadlineExceeded), nil, 1},
		"outcome replaced": {fail(codes.Unavailable), []tholegrpc.Option{
			tholegrpc.WithOutcome(func(method string, st *status.Status) thole.Outcome { return thole.Success }),
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{unary: failing(row.err)}
			c := start(t, s, through(quick(3), row.opts...))
			_, err := c.call(t.Context(), get, "x")
			assert.EqualValues(t, row.calls, s.calls.Load())
			assert.Equal(t, row.calls == 1, err != nil)
		})
	}
	assert.Panics(t, func() { tholegrpc.WithRetryCodes(codes.OK) })
	assert.Panics(t, func() { tholegrpc.WithRetryCodes(17) })
}

func typeOf(err error) string { return fmt.Sprintf("%T", err) }

func withInfo(code codes.Code, delay time.Duration) error {
	st, err := status.New(code, "later").WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(delay)})
	if err != nil {
		panic(err)
	}
	return st.Err()
}

// The server's pushback, from its trailer.
func TestUnaryClient_rule50_pushback(t *testing.T) {
	for name, row := range map[string]struct {
		code     codes.Code
		pushback []string
		calls    int
		least    time.Duration
	}{
		"at once":             {codes.Unavailable, []string{"0"}, 2, 0},
		"soon":                {codes.Unavailable, []string{"30"}, 2, 30 * ms},
		"exhausted, soon":     {codes.ResourceExhausted, []string{"30"}, 2, 30 * ms},
		"never":               {codes.Unavailable, []string{"-1"}, 1, 0},
		"not a number":        {codes.Unavailable, []string{"x"}, 1, 0},
		"two":                 {codes.Unavailable, []string{"1", "1"}, 1, 0},
		"not for this code":   {codes.Internal, []string{"1"}, 1, 0},
		"beyond all patience": {codes.Unavailable, []string{"9223372036854775807"}, 1, 0},
	} {
		for kind, p := range map[string]thole.Policy{"blocking": quick(3), "not": opaque(quick(3))} {
			t.Run(name+" "+kind, func(t *testing.T) {
				s := &service{}
				inner := failing(fail(row.code))
				s.unary = func(ctx context.Context, req *text) (*text, error) {
					if s.calls.Load() == 1 {
						_ = grpc.SetTrailer(ctx, metadata.MD{"grpc-retry-pushback-ms": row.pushback})
					}
					return inner(ctx, req)
				}
				c := start(t, s, through(p))
				begin := time.Now()
				_, err := c.call(t.Context(), get, "x")
				assert.Equal(t, row.calls == 1, err != nil)
				assert.EqualValues(t, row.calls, s.calls.Load())
				assert.GreaterOrEqual(t, time.Since(begin), row.least)
			})
		}
	}
}

func TestUnaryClient_rule49_rejections(t *testing.T) {
	open := breaker.New(breaker.Config{Name: "shop"})
	open.Isolate(time.Minute)
	full := bulkhead.New(bulkhead.Config{Limit: 1})
	_, err := full.Acquire(t.Context())
	require.NoError(t, err)
	for name, row := range map[string]struct {
		policy thole.Policy
		is     error
		code   codes.Code
		info   time.Duration // about what RetryInfo says; 0: there is none
	}{
		"open":      {open, breaker.ErrOpen, codes.Unavailable, time.Minute},
		"full":      {full, bulkhead.ErrFull, codes.Unavailable, time.Second},
		"limited":   {ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(0, time.Second)}), ratelimit.ErrLimited, codes.ResourceExhausted, 0},
		"keyed":     {thole.PerTarget(func(string) thole.Policy { return open }), breaker.ErrOpen, codes.Unavailable, time.Minute},
		"in others": {thole.Chain(quick(3), timeout.New(timeout.Config{Limit: time.Minute}), open), breaker.ErrOpen, codes.Unavailable, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := &service{}
			c := start(t, s, through(row.policy))
			_, err := c.call(t.Context(), get, "x")
			assert.ErrorIs(t, err, row.is)
			assert.ErrorIs(t, err, thole.ErrRejected)
			st, ok := status.FromError(err)
			assert.True(t, ok)
			assert.Equal(t, row.code, st.Code())
			assert.Equal(t, row.code, status.Code(err))
			assert.Equal(t, row.code, tholegrpc.RejectionCode(err))
			assert.Zero(t, s.calls.Load())
			var info *errdetails.RetryInfo
			for _, d := range st.Details() {
				info, _ = d.(*errdetails.RetryInfo)
			}
			if row.info == 0 {
				assert.Nil(t, info)
				return
			}
			require.NotNil(t, info)
			assert.InDelta(t, row.info.Seconds(), info.RetryDelay.AsDuration().Seconds(), 2)
		})
	}
}

// A context that ends a wait gives the code.
func TestUnaryClient_rule49_contextEndedTheWait(t *testing.T) {
	full := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1})
	release, err := full.Acquire(t.Context())
	require.NoError(t, err)
	defer release()
	c := start(t, &service{}, through(full))
	ctx, cancel := context.WithTimeout(t.Context(), ms)
	defer cancel()
	_, err = c.call(ctx, get, "x")
	assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
	assert.ErrorIs(t, err, thole.ErrRejected)
	ctx, cancel2 := context.WithCancel(t.Context())
	context.AfterFunc(ctx, func() {})
	time.AfterFunc(ms, cancel2)
	_, err = c.call(ctx, get, "x")
	assert.Equal(t, codes.Canceled, status.Code(err))
	assert.ErrorIs(t, err, context.Canceled)
	_, err = c.call(ctx, get, "x")
	assert.Equal(t, codes.Canceled, status.Code(err), "done before")
	assert.Equal(t, "context canceled", status.Convert(err).Message())
}

func hang(ctx context.Context, _ *text) (*text, error) {
	<-ctx.Done()
	return nil, ctx.Err()
}

func TestUnaryClient_rule49_timeout(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
		c := n.start(t, &service{unary: hang}, nil, through(thole.Chain(b, timeout.New(timeout.Config{Limit: 20 * ms}))))
		for range 2 {
			_, err := c.call(t.Context(), post, "x")
			assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
			assert.ErrorIs(t, err, timeout.ErrTimeout)
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.NotErrorIs(t, err, thole.ErrRejected)
		}
		assert.Equal(t, breaker.Open, b.State())
	})
}

// The attempt's own time limit may be retried, the caller's deadline not.
func TestUnaryClient_rule50_retriesItsOwnTimeoutOnly(t *testing.T) {
	for kind, hide := range map[string]func(thole.Policy) thole.Policy{"blocking": func(p thole.Policy) thole.Policy { return p }, "not": opaque} {
		t.Run(kind, func(t *testing.T) {
			s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
				if tholegrpc.PreviousAttempts(ctx) == 0 {
					return hang(ctx, req)
				}
				return req, nil
			}}
			p := hide(thole.Chain(quick(9), timeout.New(timeout.Config{Limit: 200 * ms})))
			c := start(t, s, through(p, tholegrpc.WithAttemptHeader()))
			got, err := c.call(t.Context(), get, "x")
			require.NoError(t, err)
			assert.Equal(t, "x", got)

			slow := &service{unary: hang}
			c = start(t, slow, through(p))
			ctx, cancel := context.WithTimeout(t.Context(), 20*ms)
			defer cancel()
			_, err = c.call(ctx, get, "x")
			assert.Equal(t, codes.DeadlineExceeded, status.Code(err))
			assert.NotErrorIs(t, err, timeout.ErrTimeout)
			assert.LessOrEqual(t, slow.calls.Load(), int32(1))
		})
	}
}

func TestUnaryClient_messagesThatAreTooLargeSayNothingOfTheServer(t *testing.T) {
	eye := newSpy()
	c := start(t, &service{}, through(eye))
	for _, opt := range []grpc.CallOption{grpc.MaxCallSendMsgSize(1), grpc.MaxCallRecvMsgSize(1)} {
		_, err := c.call(t.Context(), get, "hello", opt)
		assert.Equal(t, codes.ResourceExhausted, status.Code(err))
		assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), <-eye.errs))
	}
}

// An injected fault with a status is to the caller what it would be if it came of the callee.
func TestInjectedFault_hasTheStatusGiven(t *testing.T) {
	st := status.Convert(withInfo(codes.NotFound, time.Minute))
	for _, row := range []struct {
		err     error
		code    codes.Code
		details int
	}{{st.Err(), codes.NotFound, 1}, {nil, codes.Unavailable, 0}} {
		faulty := chaos.New(chaos.Config{Faults: chaos.Faults{ErrorRatio: 1, Err: row.err}})
		faulty.Enable(0)
		for where, c := range map[string]*pair{
			"client": start(t, &service{}, through(thole.Chain(quick(2), faulty))),
			"server": guarded(t, networks[0], &service{}, faulty),
		} {
			_, err := c.call(t.Context(), get, "x")
			assert.Equal(t, row.code, status.Code(err), where)
			assert.Len(t, status.Convert(err).Details(), row.details, where)
		}
	}
}
