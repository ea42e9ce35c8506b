package tholehttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// serverSpy is a policy that only notes what it is told.
type serverSpy struct {
	mu     sync.Mutex
	errs   []error
	inside int
	target string
	once   bool
}

func (s *serverSpy) Do(ctx context.Context, fn func(context.Context) error) error {
	s.mu.Lock()
	s.inside++
	s.target, s.once = thole.TargetFrom(ctx), !thole.Repeatable(ctx)
	s.mu.Unlock()
	err := thole.ErrAborted
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		s.inside--
		s.errs = append(s.errs, err)
	}()
	err = fn(ctx)
	return err
}

func (s *serverSpy) told() (errs []error, inside int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]error(nil), s.errs...), s.inside
}

// last is the one error it was told; the server may be a moment behind its client.
func (s *serverSpy) last(t *testing.T) error {
	t.Helper()
	require.Eventually(t, func() bool { errs, inside := s.told(); return len(errs) == 1 && inside == 0 }, 5*time.Second, time.Millisecond)
	errs, _ := s.told()
	return errs[0]
}

// serverQueue is a bulkhead as small as can be: limit inside, the rest waits.
type serverQueue struct {
	permits chan struct{}
	waiting chan struct{} // gets one for each call that begins to wait
}

func newServerQueue(limit int) *serverQueue {
	return &serverQueue{permits: make(chan struct{}, limit), waiting: make(chan struct{}, 100)}
}

func (q *serverQueue) Do(ctx context.Context, fn func(context.Context) error) error {
	select {
	case q.permits <- struct{}{}:
	default:
		q.waiting <- struct{}{}
		select {
		case q.permits <- struct{}{}:
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", thole.ErrRejected, ctx.Err())
		}
	}
	defer func() { <-q.permits }()
	return fn(ctx)
}

// serverTimeout is a cooperative timeout.
func serverTimeout(d time.Duration) thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		limited, cancel := context.WithTimeout(ctx, d)
		defer cancel()
		err := fn(limited)
		if limited.Err() != nil && ctx.Err() == nil && errors.Is(err, limited.Err()) {
			return &serverRejection{reason: thole.ReasonTimeout}
		}
		return err
	})
}

// serverRejection is a rejection that names its reason and, if not negative, a time.
type serverRejection struct {
	reason thole.Reason
	after  time.Duration
}

func (r *serverRejection) Error() string             { return "rejected: " + string(r.reason) }
func (r *serverRejection) Reason() thole.Reason      { return r.reason }
func (r *serverRejection) RetryAfter() time.Duration { return r.after }
func (r *serverRejection) Is(target error) bool      { return target == thole.ErrRejected }

func refuse(err error) thole.Policy {
	return thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return err })
}

// serverProtocols runs a test over HTTP/1 and over HTTP/2.
func serverProtocols(t *testing.T, test func(t *testing.T, start func(http.Handler) *served)) {
	for _, protocol := range []string{"HTTP/1", "HTTP/2"} {
		t.Run(protocol, func(t *testing.T) {
			test(t, func(h http.Handler) *served { return serve(t, h, protocol == "HTTP/2") })
		})
	}
}

// served is a server, its client, and what it logged.
type served struct {
	*httptest.Server
	client *http.Client
	log    *serverLog
}

type serverLog struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func serve(t *testing.T, h http.Handler, http2 bool) *served {
	t.Helper()
	s := &served{Server: httptest.NewUnstartedServer(h), log: &serverLog{}}
	s.Config.ErrorLog = log.New(s.log, "", 0)
	if http2 {
		s.EnableHTTP2 = true
		s.StartTLS()
	} else {
		s.Start()
	}
	t.Cleanup(s.Close)
	s.client = s.Client()
	s.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return s
}

func (s *served) get(t *testing.T, path string) (*http.Response, string) {
	t.Helper()
	resp, err := s.client.Get(s.URL + path)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, err)
	return resp, string(body)
}
