package tholegrpc_test

import (
	"context"
	"encoding/json"
	"errors"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/encoding"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/peer"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/types/known/anypb"
	"google.golang.org/protobuf/types/known/structpb"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/tholegrpc"
)

// early starts another attempt at once.
func early(hedges int) *hedge.Hedge {
	return hedge.New(hedge.Config{Delay: time.Microsecond, MaxHedges: hedges, Budget: thole.NoBudget})
}

// The first attempt gets its answer when it has lost; nothing of it is to be seen.
func TestUnaryClient_rule51_winnerOnly(t *testing.T) {
	overEach(t, func(t *testing.T, n network) {
		noGoroutines(t)
		var number atomic.Int32
		late := make(chan struct{})
		s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
			n := strconv.Itoa(int(number.Add(1)))
			_ = grpc.SetHeader(ctx, metadata.Pairs("n", n))
			_ = grpc.SetTrailer(ctx, metadata.Pairs("n", n))
			if n == "1" {
				<-late
			}
			return say(req.Value + n), nil
		}}
		h := early(1)
		c := n.start(t, s, nil, through(h))
		var header, trailer metadata.MD
		var from peer.Peer
		finished := make(chan error, 9)
		reply := new(text)
		err := c.Invoke(t.Context(), get, say("x"), reply, grpc.Header(&header), grpc.Trailer(&trailer), grpc.Peer(&from),
			grpc.OnFinish(func(err error) { finished <- err }))
		require.NoError(t, err)
		check := func() {
			assert.Equal(t, "x2", reply.Value)
			assert.Equal(t, []string{"2"}, header["n"])
			assert.Equal(t, []string{"2"}, trailer["n"])
			assert.NotNil(t, from.Addr)
		}
		check()
		close(late)
		assert.NoError(t, <-finished)
		c.server.GracefulStop() // the loser has ended
		check()
		assert.Empty(t, finished)
		assert.Equal(t, 1, h.Stats().Hedges)
	})
}

// A loser whose transport does not notice that it lost, and writes whenever it likes.
func TestUnaryClient_rule51_nothingIsWrittenAfterReturn(t *testing.T) {
	noGoroutines(t)
	release, wrote := make(chan struct{}), make(chan struct{})
	invoke := func(ctx context.Context, _ string, _, reply any, _ *grpc.ClientConn, opts ...grpc.CallOption) error {
		loser := thole.AttemptFrom(ctx).Hedge == 0
		if loser {
			<-release
			defer close(wrote)
		}
		who := "winner"
		if loser {
			who = "loser"
		}
		reply.(*text).Value = who
		for _, o := range opts {
			switch o := o.(type) {
			case grpc.HeaderCallOption:
				*o.HeaderAddr = metadata.Pairs("who", who)
			case grpc.TrailerCallOption:
				*o.TrailerAddr = metadata.Pairs("who", who)
			case grpc.PeerCallOption:
				*o.PeerAddr = peer.Peer{AuthInfo: nil}
			case grpc.OnFinishCallOption:
				o.OnFinish(nil)
			}
		}
		return nil
	}
	var header, trailer metadata.MD
	finished := 0
	reply := new(text)
	call := tholegrpc.UnaryClientInterceptor(early(1))
	require.NoError(t, call(t.Context(), get, say("x"), reply, nil, invoke,
		grpc.Header(&header), grpc.Trailer(&trailer), grpc.OnFinish(func(error) { finished++ })))
	close(release)
	<-wrote
	assert.Equal(t, "winner", reply.Value)
	assert.Equal(t, []string{"winner"}, header["who"])
	assert.Equal(t, []string{"winner"}, trailer["who"])
	assert.Equal(t, 1, finished)
}

// Both succeed at the same time, many times over.
func TestUnaryClient_rule51_twoWinners(t *testing.T) {
	c := start(t, &service{}, through(thole.Chain(early(2), breaker.New(breaker.Config{}))))
	var wg sync.WaitGroup
	for g := range 8 {
		wg.Go(func() {
			for i := range 100 {
				want := strconv.Itoa(g*1000 + i)
				var header metadata.MD
				got, err := c.call(t.Context(), get, want, grpc.Header(&header))
				assert.NoError(t, err)
				assert.Equal(t, want, got)
			}
		})
	}
	wg.Wait()
}

func TestUnaryClient_rule51_allFail(t *testing.T) {
	var number atomic.Int32
	both := make(chan struct{})
	s := &service{unary: func(ctx context.Context, _ *text) (*text, error) {
		n := int(number.Add(1))
		_ = grpc.SetTrailer(ctx, metadata.Pairs("n", strconv.Itoa(n)))
		if n == 2 {
			close(both)
		}
		<-both
		return nil, status.Errorf(codes.Internal, "failure %d", n)
	}}
	c := start(t, s, through(early(1)))
	var trailer metadata.MD
	_, err := c.call(t.Context(), get, "x", grpc.Trailer(&trailer))
	assert.Equal(t, codes.Internal, status.Code(err))
	assert.Equal(t, "failure "+trailer["n"][0], status.Convert(err).Message(), "status and trailer are of one attempt")
	var all *hedge.Error
	require.ErrorAs(t, err, &all)
	assert.Len(t, all.Others, 1)
}

// An answer is a result: it wins over an attempt that still runs, with its trailer.
func TestUnaryClient_rule51_answerWins(t *testing.T) {
	var number atomic.Int32
	s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
		if number.Add(1) == 1 {
			return hang(ctx, req)
		}
		_ = grpc.SetTrailer(ctx, metadata.Pairs("n", "2"))
		return nil, fail(codes.NotFound)
	}}
	c := start(t, s, through(early(1)))
	var trailer metadata.MD
	_, err := c.call(t.Context(), get, "x", grpc.Trailer(&trailer))
	assert.Equal(t, "*status.Error", typeOf(err))
	assert.Equal(t, codes.NotFound, status.Code(err))
	assert.Equal(t, []string{"2"}, trailer["n"])
}

func TestUnaryClient_rule51_onlyRepeatableIsHedged(t *testing.T) {
	h := early(1)
	s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
		timer := time.NewTimer(5 * ms)
		<-timer.C
		return req, nil
	}}
	c := start(t, s, through(h))
	_, err := c.call(t.Context(), post, "x")
	require.NoError(t, err)
	assert.EqualValues(t, 1, s.calls.Load())
	assert.Zero(t, h.Stats().Hedges)
}

func TestUnaryClient_rule51_cancelledByTheCaller(t *testing.T) {
	noGoroutines(t)
	arrived := make(chan struct{}, 9)
	s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
		arrived <- struct{}{}
		return hang(ctx, req)
	}}
	c := start(t, s, through(early(1)))
	ctx, cancel := context.WithCancel(t.Context())
	go func() {
		<-arrived
		<-arrived
		cancel()
	}()
	_, err := c.call(ctx, get, "x")
	assert.Equal(t, codes.Canceled, status.Code(err))
}

func TestUnaryClient_rule51_panicOfAnAttempt(t *testing.T) {
	boom := errors.New("boom")
	call := tholegrpc.UnaryClientInterceptor(early(1))
	assert.PanicsWithError(t, "boom", func() {
		_ = call(t.Context(), get, say("x"), new(text), nil, func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
			panic(boom)
		})
	})
}

type jsonCodec struct{}

func (jsonCodec) Marshal(v any) ([]byte, error) {
	if t, ok := v.(*text); ok {
		return json.Marshal(t.Value)
	}
	return json.Marshal(v)
}

func (jsonCodec) Unmarshal(data []byte, v any) error {
	if t, ok := v.(*text); ok {
		return json.Unmarshal(data, &t.Value)
	}
	return json.Unmarshal(data, v)
}
func (jsonCodec) Name() string { return "json" }

// Replies of other codecs: a zero one is made again, of any other nothing is known.
func TestUnaryClient_rule51_otherCodecs(t *testing.T) {
	encoding.RegisterCodec(jsonCodec{})
	var number atomic.Int32
	s := &service{unary: func(ctx context.Context, req *text) (*text, error) {
		if number.Add(1) == 1 && req.Value == "slow" {
			return hang(ctx, req)
		}
		return req, nil
	}}
	c := start(t, s, through(early(1)), grpc.WithDefaultCallOptions(grpc.CallContentSubtype("json")))
	var reply string
	require.NoError(t, c.Invoke(t.Context(), get, say("slow"), &reply))
	assert.Equal(t, "slow", reply)

	number.Store(1)
	s.calls.Store(0)
	into := "was here before"
	require.NoError(t, c.Invoke(t.Context(), get, say("y"), &into))
	assert.Equal(t, "y", into)
	assert.EqualValues(t, 1, s.calls.Load(), "not hedged")
}

// What the winner's reply is moved into equals it, whatever was there before.
func TestUnaryClient_rule51_replyIsWhole(t *testing.T) {
	inner, err := anypb.New(say("inner"))
	require.NoError(t, err)
	st, err := structpb.NewStruct(map[string]any{"a": 1.0, "b": []any{"x", nil, true}, "c": map[string]any{"d": "e"}})
	require.NoError(t, err)
	unknown := say("x")
	unknown.ProtoReflect().SetUnknown([]byte{0xf8, 0x01, 0x05})
	for _, row := range []struct{ from, into proto.Message }{
		{st, &structpb.Struct{Fields: map[string]*structpb.Value{"old": nil}}},
		{inner, &anypb.Any{TypeUrl: "old"}},
		{unknown, say("old")},
		{say(""), say("old")},
		{structpb.NewNumberValue(0), structpb.NewStringValue("old")},
		{wrapperspb.Bytes([]byte{1, 2}), wrapperspb.Bytes([]byte{3})},
	} {
		call := tholegrpc.UnaryClientInterceptor(hedge.New(hedge.Config{Delay: time.Minute}))
		require.NoError(t, call(t.Context(), get, say("x"), row.into, nil, func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
			proto.Merge(reply.(proto.Message), row.from)
			return nil
		}))
		assert.True(t, proto.Equal(row.from, row.into), "%v into %v", row.from, row.into)
	}
}

// Of two successes one counts; the other hears that it was cancelled. An attempt that a policy
// starts when it has returned is not made.
func TestUnaryClient_rule51_oneSuccessCounts(t *testing.T) {
	var both sync.WaitGroup
	both.Add(2)
	errs := make(chan error, 2)
	var later func(context.Context) error
	twice := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		later = fn
		for range 2 {
			go func() { errs <- fn(ctx) }()
		}
		first, second := <-errs, <-errs
		errs <- first
		errs <- second
		return nil
	})
	calls := atomic.Int32{}
	call := tholegrpc.UnaryClientInterceptor(twice)
	reply := new(text)
	require.NoError(t, call(t.Context(), get, say("x"), reply, nil, func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
		calls.Add(1)
		both.Done()
		both.Wait()
		reply.(*text).Value = "x"
		return nil
	}))
	assert.ElementsMatch(t, []error{nil, context.Canceled}, []error{<-errs, <-errs})
	assert.Equal(t, "x", reply.Value)
	assert.Equal(t, context.Canceled, later(t.Context()))
	assert.EqualValues(t, 2, calls.Load())
}

// Nor is one of a call that came to nothing.
func TestUnaryClient_rule51_noAttemptAfterTheEnd(t *testing.T) {
	var later func(context.Context) error
	gone := errors.New("gone")
	leaves := thole.PolicyFunc(func(_ context.Context, fn func(context.Context) error) error {
		later = fn
		return gone
	})
	call := tholegrpc.UnaryClientInterceptor(leaves)
	never := func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error { panic("called") }
	assert.ErrorIs(t, call(t.Context(), get, say("x"), new(text), nil, never), gone)
	assert.Equal(t, context.Canceled, later(t.Context()))
}

// The success of a call that an attempt of some other hedge makes on its way does not settle
// that attempt: its caller is still let go at once.
func TestUnaryClient_rule06_aCallWithinAnAttemptDoesNotClaimIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		outer, inner := hedge.New(hedge.Config{Delay: time.Hour}), hedge.New(hedge.Config{Delay: time.Hour})
		call := tholegrpc.UnaryClientInterceptor(inner)
		ctx, cancel := context.WithTimeout(t.Context(), 10*ms)
		defer cancel()
		begin := time.Now()
		err := outer.Do(ctx, func(ctx context.Context) error {
			if err := call(ctx, get, say("x"), new(text), nil, instant); err != nil {
				return err
			}
			time.Sleep(time.Hour)
			return errors.New("of no interest any more")
		})
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Less(t, time.Since(begin), 20*ms)
		time.Sleep(time.Hour)
	})
}

// slowToTell hears at once how a run ended and tells it later, as does a goroutine that loses the
// processor in between.
var slowToTell = thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
	defer time.Sleep(10 * time.Millisecond)
	return fn(ctx)
})

// An answer that came before the hedge gave up is one, however late the hedge hears of it.
func TestUnaryClient_rule02_anAnswerThatClaimedTheCallIsNotDropped(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		call := tholegrpc.UnaryClientInterceptor(thole.Chain(hedge.New(hedge.Config{Delay: time.Hour}), slowToTell))
		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		var reply wrapperspb.StringValue
		err := call(ctx, "/test.Service/Get", &wrapperspb.StringValue{}, &reply, nil,
			func(_ context.Context, _ string, _, reply any, _ *grpc.ClientConn, _ ...grpc.CallOption) error {
				reply.(*wrapperspb.StringValue).Value = "in time"
				return nil
			})
		require.NoError(t, err)
		require.Equal(t, "in time", reply.Value)
	})
}

// The second of two answers is told context.Canceled, which is no failure to a breaker around it.
func TestUnaryClient_aLateAnswerIsNoFailure(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		call := tholegrpc.UnaryClientInterceptor(thole.Chain(hedge.New(hedge.Config{Delay: ms}), slowToTell, b),
			tholegrpc.WithRepeatable(func(string) bool { return true }))
		runs := atomic.Int32{}
		err := call(t.Context(), "/test.Service/Get", &wrapperspb.StringValue{}, &wrapperspb.StringValue{}, nil,
			func(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
				runs.Add(1)
				time.Sleep(2 * ms)
				return nil
			})
		require.NoError(t, err)
		time.Sleep(time.Hour)
		require.EqualValues(t, 2, runs.Load())
		require.Equal(t, breaker.Closed, b.State())
	})
}
