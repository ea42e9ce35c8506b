package tholegrpc

import (
	"context"
	"io"
	"runtime"
	"sync"

	"google.golang.org/grpc"
	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
)

// StreamClientInterceptor returns an interceptor that makes streams through p. A nil p is no
// policy.
//
// Policies see a stream as one run, from before it is there until it has ended, by whichever
// way: so its permit is held that long, and its outcome is that of its end. A stream that
// could not be established may be tried again, whatever its method, for no server has seen a
// message of it; one that is there is never repeated, and never hedged. Where a hedge is known
// to be among the policies their context says [thole.Once], and then nothing is tried again.
//
// A policy's time limit covers the time until the stream is there, unless [WithWholeStream]
// says otherwise. As gRPC establishes a stream without waiting for the server's answer, that is
// mostly the wait for a connection.
//
// The policies run in a goroutine that ends with the stream: by an error of RecvMsg (io.EOF
// is one), SendMsg or Header, by the end of ctx, or with the ClientConn. One of these must
// happen, as grpc.ClientConn.NewStream says.
func StreamClientInterceptor(p thole.Policy, opts ...Option) grpc.StreamClientInterceptor {
	return newClient(p, opts).stream
}

func (c *client) stream(ctx context.Context, desc *grpc.StreamDesc, cc *grpc.ClientConn, method string, streamer grpc.Streamer, opts ...grpc.CallOption) (grpc.ClientStream, error) {
	n := c.notes.of(dialTarget(cc), method)
	if n.exempt {
		return streamer(ctx, desc, cc, method, opts...)
	}
	if c.warn && !n.checked.Load() {
		defer n.checkNative(cc)
	}
	s := &clientStream{c: c, n: n, ctx: ctx, single: !desc.ServerStreams, there: make(chan struct{}), done: make(chan struct{})}
	s.opts, s.finish = takeOnFinish(opts)
	s.open = func(ctx context.Context, opts ...grpc.CallOption) (grpc.ClientStream, error) {
		return streamer(ctx, desc, cc, method, opts...)
	}
	if c.expired(ctx) {
		s.settle(&Error{err: ErrExpired})
		s.raise()
		return nil, s.result
	}
	go s.do()
	select {
	case <-s.there:
		return s, nil
	case <-s.done:
	}
	s.raise()
	select {
	case <-s.there: // and has ended already
		return s, nil
	default:
	}
	return nil, s.result
}

// clientStream is a stream under policies.
type clientStream struct {
	grpc.ClientStream            // set when there is closed
	run               *streamRun // that it is of

	c      *client
	n      *notes
	ctx    context.Context // the caller's
	single bool            // there is one reply at the most
	open   func(context.Context, ...grpc.CallOption) (grpc.ClientStream, error)
	opts   []grpc.CallOption
	finish []func(error)

	there chan struct{} // closed when the stream is there
	done  chan struct{} // closed when the policies have returned

	mu      sync.Mutex
	sent    int
	running bool  // an attempt to establish, or a stream that is there
	isThere bool  // or was
	verdict error // of the last attempt

	result error   // what the caller gets; set when done is closed
	raised *raised // what the policies panicked with, or a callback
}

// raised is a panic, or, if it has no value, a Goexit.
type raised struct{ value any }

// do runs the policies.
func (s *clientStream) do() {
	err, returned := errLeft, false
	defer func() {
		if !returned {
			s.raised = &raised{recover()}
		}
		s.settle(err)
	}()
	ctx := s.n.context(s.ctx, s.c.sideBySide)
	err = s.c.policy.Do(&ctx, s.attempt)
	returned = true
	if err == nil && !s.isThere {
		err = swallowed(s.verdict)
	}
	if err != nil {
		err = outward(s.ctx, err)
	}
}

// settle makes known what the caller gets. What a callback panics with is the caller's too: in
// this goroutine nobody could recover it.
func (s *clientStream) settle(err error) {
	s.result = err
	returned := false
	defer func() {
		if !returned {
			s.raised = &raised{recover()}
		}
		close(s.done)
	}()
	for _, f := range s.finish {
		f(err)
	}
	returned = true
}

// raise raises the policies' panic or Goexit in the caller's goroutine.
func (s *clientStream) raise() {
	switch {
	case s.raised == nil:
	case s.raised.value == nil:
		runtime.Goexit()
	default:
		panic(s.raised.value)
	}
}

// attempt is what the policies run: it establishes the stream, and returns when that has
// ended.
func (s *clientStream) attempt(ctx context.Context) error {
	before, err := s.enter()
	if err != nil {
		return err
	}
	err = s.stay(ctx, before)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.running = false
	s.verdict = err
	return err
}

// enter begins an attempt, and returns how many there were before it.
func (s *clientStream) enter() (before int, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case s.running:
		return 0, errOverlap
	case s.isThere && s.verdict != nil:
		return 0, s.verdict
	case s.isThere:
		return 0, errAgain
	}
	before = s.sent
	s.sent++
	s.running = true
	return before, nil
}

// stay establishes the stream and waits for its end.
func (s *clientStream) stay(ctx context.Context, before int) error {
	run := newStreamRun(s.ctx, ctx, s.c.wholeStream)
	defer run.release()
	opts := append(append(make([]grpc.CallOption, 0, len(s.opts)+1), s.opts...), grpc.OnFinish(run.end))
	stream, err := s.open(s.c.withAttempt(run.ctx, before), opts...)
	switch {
	case ctx.Err() == context.DeadlineExceeded && (err == nil && !run.establish() || toStatus(err).Code() == codes.Canceled):
		// It was cancelled at the deadline.
		return &ended{err: status.FromContextError(context.DeadlineExceeded).Err(), ctxErr: context.DeadlineExceeded}
	case err != nil:
		return s.c.judge(ctx, s.n.method, err, nil, nil)
	}
	run.establish()
	s.mu.Lock()
	s.ClientStream, s.run, s.isThere = stream, run, true
	s.mu.Unlock()
	close(s.there)
	err = run.wait()
	if err == nil {
		return nil
	}
	if ctxErr := contextError(ctx, status.Code(err)); s.c.wholeStream && ctxErr != nil {
		return thole.Permanent(&ended{err: err, ctxErr: ctxErr})
	}
	return s.c.judgeFinal(s.n.method, err)
}

// RecvMsg receives a message. An error ends the stream, and so does an only reply; the policies
// have returned then.
func (s *clientStream) RecvMsg(m any) error {
	err := s.ClientStream.RecvMsg(m)
	if err != nil {
		return s.over(err)
	}
	if s.single {
		select {
		case <-s.run.ended: // with its one reply
			<-s.done
			s.raise()
		default:
		}
	}
	return nil
}

// SendMsg sends a message. An error other than io.EOF ends the stream.
func (s *clientStream) SendMsg(m any) error {
	err := s.ClientStream.SendMsg(m)
	if err != nil && err != io.EOF {
		err = s.over(err)
	}
	return err
}

// Header returns the header. An error ends the stream.
func (s *clientStream) Header() (metadata.MD, error) {
	md, err := s.ClientStream.Header()
	if err != nil {
		err = s.over(err)
	}
	return md, err
}

// over ends the stream with err and returns what the caller gets for it.
func (s *clientStream) over(err error) error {
	s.run.end(err)
	<-s.done
	s.raise()
	if err != io.EOF && s.result != nil && status.Code(s.result) == status.Code(err) {
		if _, ok := s.result.(*Error); ok { // policies had something to add
			return s.result
		}
	}
	return err
}
