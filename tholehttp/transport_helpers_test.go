package tholehttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// The transport works with any policy, so these tests bring policies of their own: what is
// seen then is the transport's doing alone.

// retrying runs fn up to n times, as a retry that knows lifetimes does. pause, if not nil,
// stands for the pause before each further run.
func retrying(n int, pause func(error)) thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		life := thole.LifetimeFrom(ctx)
		for i := 0; ; i++ {
			mark := life.Mark()
			if i > 0 {
				err := fn(thole.WithAttempt(ctx, thole.Attempt{Number: i}))
				if done(ctx, err) || i+1 >= n {
					return wrap(err)
				}
				life.Rewind(mark)
				continue
			}
			err := fn(ctx)
			if done(ctx, err) || n == 1 {
				return wrap(err)
			}
			life.Rewind(mark)
			if pause != nil {
				pause(err)
			}
		}
	})
}

func done(ctx context.Context, err error) bool {
	return thole.OutcomeOf(ctx, err) != thole.Failure && !thole.Retryable(err) ||
		thole.IsPermanent(err) || !thole.Repeatable(ctx) || ctx.Err() != nil
}

type wrapped struct{ err error }

func (w *wrapped) Error() string { return "gave up: " + w.err.Error() }
func (w *wrapped) Unwrap() error { return w.err }

func wrap(err error) error {
	if thole.OutcomeOf(context.Background(), err) != thole.Failure || thole.IsPermanent(err) {
		return err
	}
	return &wrapped{err}
}

// stubborn runs fn until it succeeds or n times. It knows nothing of lifetimes, of Once or
// of permanent errors.
func stubborn(n int) thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		var err error
		for range n {
			if err = fn(ctx); err == nil {
				return nil
			}
		}
		return err
	})
}

var errRefused = thole.Rejection(thole.ReasonOpen, "refused for the test")

func refusing() thole.Policy {
	return thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return errRefused })
}

// scoped gives fn a context of its own and hands its cancellation over.
type scoped struct{ made, ended atomic.Int64 }

func (s *scoped) Do(ctx context.Context, fn func(context.Context) error) error {
	life := thole.LifetimeFrom(ctx)
	ctx, cancel := context.WithCancel(ctx)
	s.made.Add(1)
	release := func() { s.ended.Add(1); cancel() }
	defer func() {
		if !life.Adopt(release) {
			release()
		}
	}()
	return fn(ctx)
}

// racing runs n attempts at once. The first success wins; all failed, it returns their
// errors joined, the first attempt's first.
func racing(n int) thole.Policy {
	type end struct {
		i   int
		err error
	}
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		if !thole.Repeatable(ctx) {
			return fn(ctx)
		}
		outer := thole.LifetimeFrom(ctx)
		lives, cancels := make([]*thole.Lifetime, n), make([]func(), n)
		ends := make(chan end, n)
		for i := range n {
			actx, life := thole.WithLifetime(ctx)
			actx, cancel := context.WithCancel(actx)
			lives[i], cancels[i] = life, cancel
			actx = thole.WithAttempt(actx, thole.Attempt{Hedge: i})
			go func() { ends <- end{i, fn(actx)} }()
		}
		keep := func(winner int) {
			for i := range n {
				release := func() { cancels[i](); lives[i].End() }
				if i != winner || !outer.Adopt(release) {
					release()
				}
			}
		}
		errs := make([]error, n)
		for range n {
			e := <-ends
			if e.err == nil {
				keep(e.i)
				return nil
			}
			errs[e.i] = e.err
		}
		keep(0)
		return errors.Join(errs...)
	})
}

// roundTripper is a function as a base.
type roundTripper func(*http.Request) (*http.Response, error)

func (f roundTripper) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// consume does to the request's body what a base must.
func consume(r *http.Request) string {
	if r.Body == nil {
		return ""
	}
	b, _ := io.ReadAll(r.Body)
	r.Body.Close()
	return string(b)
}

// reply makes a response to r.
func reply(r *http.Request, status int, body io.ReadCloser) *http.Response {
	return &http.Response{StatusCode: status, Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: http.Header{}, Body: body, ContentLength: -1, Request: r}
}

// statuses is a base that answers with each status in turn, and the last one from then on.
func statuses(made *bodies, codes ...int) http.RoundTripper {
	var n atomic.Int64
	return roundTripper(func(r *http.Request) (*http.Response, error) {
		consume(r)
		i := min(int(n.Add(1)), len(codes)) - 1
		return reply(r, codes[i], made.new(http.StatusText(codes[i]))), nil
	})
}

// bodies makes response bodies and knows what became of them.
type bodies struct {
	mu  sync.Mutex
	all []*tracked
}

func (b *bodies) new(content string) *tracked {
	t := &tracked{Reader: strings.NewReader(content)}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.all = append(b.all, t)
	return t
}

// requireClosed asserts that every body was closed.
func (b *bodies) requireClosed(t *testing.T) {
	t.Helper()
	b.mu.Lock()
	defer b.mu.Unlock()
	for i, body := range b.all {
		require.NotZero(t, body.closes.Load(), "response body %d of %d is open", i, len(b.all))
	}
}

// tracked is a body that counts what is done to it.
type tracked struct {
	io.Reader
	read, closes, late atomic.Int64 // bytes read, calls of Close, reads after it
}

func (b *tracked) Read(p []byte) (int, error) {
	if b.closes.Load() > 0 {
		b.late.Add(1)
		return 0, http.ErrBodyReadAfterClose
	}
	n, err := b.Reader.Read(p)
	b.read.Add(int64(n))
	return n, err
}

func (b *tracked) Close() error {
	b.closes.Add(1)
	return nil
}

func newTracked(content string) *tracked { return &tracked{Reader: strings.NewReader(content)} }

// request makes one with a tracked body, and with GetBody if replay.
func request(t testing.TB, method, content string, replay bool) (*http.Request, *tracked) {
	t.Helper()
	r, err := http.NewRequest(method, "http://server.test/", nil)
	require.NoError(t, err)
	body := newTracked(content)
	r.Body, r.ContentLength = body, int64(len(content))
	if replay {
		r.GetBody = func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader([]byte(content))), nil }
	}
	return r, body
}

func get(t testing.TB, url string) *http.Request {
	t.Helper()
	r, err := http.NewRequest(http.MethodGet, url, nil)
	require.NoError(t, err)
	return r
}

func readAll(t testing.TB, resp *http.Response) string {
	t.Helper()
	b, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	return string(b)
}

// pipes is a network in memory, for use in a synctest bubble.
type pipes struct {
	conns chan net.Conn
	done  chan struct{}
	dials atomic.Int64
}

func newPipes() *pipes { return &pipes{conns: make(chan net.Conn), done: make(chan struct{})} }

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.conns:
		return c, nil
	case <-p.done:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error   { close(p.done); return nil }
func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipe", Net: "pipe"} }

func (p *pipes) dial(ctx context.Context, _, _ string) (net.Conn, error) {
	ours, theirs := net.Pipe()
	select {
	case p.conns <- theirs:
		p.dials.Add(1)
		return ours, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// servePipes starts a server in memory, and returns a base that reaches it.
func servePipes(t *testing.T, h http.HandlerFunc) (*http.Transport, *pipes) {
	t.Helper()
	p := newPipes()
	s := &http.Server{Handler: h}
	go func() { _ = s.Serve(p) }()
	base := &http.Transport{DialContext: p.dial}
	t.Cleanup(func() {
		base.CloseIdleConnections()
		_ = s.Close()
	})
	return base, p
}

// listen starts a server on loopback that speaks HTTP/1 or HTTP/2.
func listen(t *testing.T, h2 bool, h http.HandlerFunc) (*httptest.Server, *http.Transport) {
	t.Helper()
	s := httptest.NewUnstartedServer(h)
	s.EnableHTTP2 = h2
	if h2 {
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	base := s.Client().Transport.(*http.Transport)
	t.Cleanup(base.CloseIdleConnections)
	return s, base
}

func transport(base http.RoundTripper, p thole.Policy) *tholehttp.Transport {
	return tholehttp.NewTransport(base, p, tholehttp.TransportConfig{})
}
