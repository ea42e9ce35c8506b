package tholehttp_test

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// spy notes the errors that come out of fn, as an innermost policy sees them.
type spy struct {
	errs     []error
	outcomes []thole.Outcome
	targets  []string
}

func (s *spy) Do(ctx context.Context, fn func(context.Context) error) error {
	err := fn(ctx)
	s.errs = append(s.errs, err)
	s.outcomes = append(s.outcomes, thole.OutcomeOf(ctx, err))
	s.targets = append(s.targets, thole.TargetFrom(ctx))
	return err
}

func (s *spy) last() error { return s.errs[len(s.errs)-1] }

func TestTransport_rule44_statusesAsPoliciesSeeThem(t *testing.T) {
	for code := 100; code < 600; code++ {
		var made bodies
		s := &spy{}
		r := get(t, "http://Server.Test/")
		r = r.WithContext(thole.WithTarget(r.Context(), "of the call that this one is a part of"))
		resp, err := transport(statuses(&made, code), s).RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, code, resp.StatusCode)
		readAll(t, resp)
		require.Equal(t, []string{"http://server.test:80"}, s.targets)
		want, retried := thole.Success, false
		switch {
		case code == 429:
			want, retried = thole.Ignored, true
		case code >= 500 && code != 501:
			want = thole.Failure
		}
		require.Equal(t, want, s.outcomes[0], "%d", code)
		require.Equal(t, retried, thole.Retryable(s.last()), "%d", code)
		var se *tholehttp.StatusError
		require.Equal(t, want != thole.Success, errors.As(s.last(), &se))
		if se != nil {
			require.Equal(t, code, se.StatusCode)
			require.Same(t, resp, se.Response)
			require.Contains(t, se.Error(), fmt.Sprint(code))
		}
	}
}

func TestTransport_rule44_429IsRetriedAndNeverAFailure(t *testing.T) {
	var made bodies
	s := &spy{}
	resp, err := transport(statuses(&made, 429, 429, 200), thole.Chain(retrying(3, nil), s)).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, []thole.Outcome{thole.Ignored, thole.Ignored, thole.Success}, s.outcomes)
}

func TestTransport_rule44_retryAfterReachesThePolicies(t *testing.T) {
	eachProtocol(t, func(t *testing.T, h2 bool) {
		srv, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/seconds":
				w.Header().Set("Retry-After", "7")
			case "/date":
				w.Header().Set("Date", time.Now().UTC().Format(http.TimeFormat))
				w.Header().Set("Retry-After", time.Now().Add(time.Hour).UTC().Format(http.TimeFormat))
			case "/garbage":
				w.Header().Set("Retry-After", "later")
			}
			w.WriteHeader(503)
		})
		for path, want := range map[string]time.Duration{"/seconds": 7 * time.Second, "/date": time.Hour, "/garbage": -1, "/none": -1} {
			s := &spy{}
			resp, err := transport(base, s).RoundTrip(get(t, srv.URL+path))
			require.NoError(t, err)
			readAll(t, resp)
			got, ok := thole.RetryAfter(s.last())
			require.Equal(t, want >= 0, ok, path)
			require.InDelta(t, max(0, want), got, float64(time.Second), path)
		}
	})
}

func TestTransport_rule44_outcomesAreConfigurable(t *testing.T) {
	boom := errors.New("boom")
	errorBase := roundTripper(func(*http.Request) (*http.Response, error) { return nil, boom })
	var made bodies
	rows := map[string]struct {
		base    http.RoundTripper
		outcome thole.Outcome
		runs    int
	}{
		"404 is a failure":         {statuses(&made, 404), thole.Failure, 3},
		"503 is an answer":         {statuses(&made, 503), thole.Success, 1},
		"503 is ignored":           {statuses(&made, 503), thole.Ignored, 1},
		"429 is a failure":         {statuses(&made, 429), thole.Failure, 3},
		"an error is a failure":    {errorBase, thole.Failure, 3},
		"an error is ignored":      {errorBase, thole.Ignored, 1},
		"an error is as an answer": {errorBase, thole.Success, 1},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			s := &spy{}
			tr := tholehttp.NewTransport(row.base, thole.Chain(retrying(3, nil), s), tholehttp.TransportConfig{
				Outcome: func(resp *http.Response, err error) thole.Outcome {
					require.True(t, (resp == nil) != (err == nil))
					return row.outcome
				},
			})
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			if strings.HasPrefix(name, "an error") {
				require.ErrorIs(t, err, boom)
				if row.runs == 1 {
					require.Same(t, boom, err, "nothing was added")
				}
			} else {
				require.NoError(t, err)
				require.NotEmpty(t, readAll(t, resp))
			}
			require.Equal(t, row.outcome, s.outcomes[0])
			require.Len(t, s.outcomes, row.runs)
		})
	}
	made.requireClosed(t)
	require.Equal(t, thole.Failure, tholehttp.DefaultOutcome(nil, boom))
	require.Equal(t, thole.Ignored, tholehttp.DefaultOutcome(&http.Response{StatusCode: 429}, nil))
}

func TestTransport_permanentErrors(t *testing.T) {
	plain, _ := listen(t, false, func(http.ResponseWriter, *http.Request) {})
	secure, trusting := listen(t, true, func(http.ResponseWriter, *http.Request) {})
	rows := map[string]struct {
		base    http.RoundTripper
		change  func(*http.Request)
		url     string
		outcome thole.Outcome
		check   func(t *testing.T, err error)
	}{
		"certificate of an unknown authority": {http.DefaultTransport, nil, secure.URL, thole.Failure, func(t *testing.T, err error) {
			require.ErrorAs(t, err, new(*tls.CertificateVerificationError))
			require.ErrorAs(t, err, new(x509.UnknownAuthorityError))
		}},
		"certificate of another host": {trusting, nil, strings.Replace(secure.URL, "127.0.0.1", "localhost", 1), thole.Failure, func(t *testing.T, err error) {
			require.ErrorAs(t, err, new(x509.HostnameError))
		}},
		"server does not speak TLS": {http.DefaultTransport, nil, strings.Replace(plain.URL, "http:", "https:", 1), thole.Failure, func(t *testing.T, err error) {
			_, ok := err.(tls.RecordHeaderError) // as http.Client asks
			require.True(t, ok, "%T", err)
		}},
		"unsupported scheme": {http.DefaultTransport, nil, "gopher://server.test/", thole.Ignored, nil},
		"no host":            {http.DefaultTransport, nil, "http:///", thole.Ignored, nil},
		"invalid header":     {http.DefaultTransport, func(r *http.Request) { r.Header["X"] = []string{"a\nb"} }, plain.URL, thole.Ignored, nil},
		"nil header":         {http.DefaultTransport, func(r *http.Request) { r.Header = nil }, plain.URL, thole.Ignored, nil},
		"nil URL":            {http.DefaultTransport, func(r *http.Request) { r.URL = nil }, plain.URL, thole.Ignored, nil},
		"body that fails": {http.DefaultTransport, func(r *http.Request) {
			r.Method, r.ContentLength = "PUT", 3
			r.Body = io.NopCloser(readerFunc(func([]byte) (int, error) { return 0, os.ErrNotExist }))
		}, plain.URL, thole.Ignored, func(t *testing.T, err error) { require.ErrorIs(t, err, os.ErrNotExist) }},
		"header that HTTP/2 forbids": {trusting, func(r *http.Request) { r.Header.Set("Connection", "x-secret") }, secure.URL, thole.Ignored, nil},
		"path that HTTP/2 forbids":   {trusting, func(r *http.Request) { r.URL.Opaque = "path" }, secure.URL, thole.Ignored, nil},
		"neither response nor error": {roundTripper(func(*http.Request) (*http.Response, error) { return nil, nil }), nil, plain.URL, thole.Ignored, nil},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			r := get(t, row.url)
			if row.change != nil {
				row.change(r)
			}
			s := &spy{}
			_, err := transport(row.base, thole.Chain(retrying(3, nil), s)).RoundTrip(r)
			require.Error(t, err)
			require.False(t, thole.IsPermanent(err), "the mark comes off at the edge")
			require.Len(t, s.errs, 1)
			require.True(t, thole.IsPermanent(s.last()))
			require.Equal(t, row.outcome, s.outcomes[0])
			if row.check != nil {
				row.check(t, err)
			}
		})
	}
}

func TestTransport_callersFaultsByTheirWords(t *testing.T) {
	// These reach the caller by luck only: the connection may be closed first.
	for _, text := range []string{
		"http: Request.ContentLength=3 with nil Body",
		"http: ContentLength=3 with Body length 5",
		"http2: request body larger than specified content length",
		"http2: request header list larger than peer's advertised limit",
	} {
		require.Equal(t, thole.Ignored, tholehttp.DefaultOutcome(nil, &wrapped{errors.New(text)}))
	}
	require.Equal(t, thole.Failure, tholehttp.DefaultOutcome(nil, errors.New("http: server closed idle connection")))
}

func TestTransport_baseErrorIsReturnedItself(t *testing.T) {
	for _, p := range []thole.Policy{nil, stubborn(1), stubborn(3)} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = transport(nil, p).RoundTrip(get(t, "http://"+l.Addr().String()))
		_, ok := err.(*net.OpError)
		require.True(t, ok, "%T", err)
	}
}

func TestTransport_responseBesideAnErrorIsClosed(t *testing.T) {
	var made bodies
	boom := errors.New("boom")
	base := roundTripper(func(r *http.Request) (*http.Response, error) { return reply(r, 200, made.new("x")), boom })
	resp, err := transport(base, retrying(1, nil)).RoundTrip(get(t, "http://server.test/"))
	require.Nil(t, resp)
	require.ErrorIs(t, err, boom)
	made.requireClosed(t)
}

type slowErr struct{}

func (slowErr) Error() string { return "too slow" }
func (slowErr) Timeout() bool { return true }

func TestTransport_timeoutsAreVisibleToClients(t *testing.T) {
	for name, err := range map[string]error{
		"as it is":  slowErr{},
		"wrapped":   &wrapped{slowErr{}},
		"joined":    errors.Join(errors.New("x"), slowErr{}),
		"permanent": thole.Permanent(slowErr{}),
		"deadline":  &wrapped{context.DeadlineExceeded},
	} {
		t.Run(name, func(t *testing.T) {
			p := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return err })
			_, got := (&http.Client{Transport: transport(nil, p)}).Get("http://server.test/")
			var ue *url.Error
			require.ErrorAs(t, got, &ue)
			require.True(t, ue.Timeout())
			require.ErrorContains(t, got, err.Error())
		})
	}
	p := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return &wrapped{errRefused} })
	_, got := (&http.Client{Transport: transport(nil, p)}).Get("http://server.test/")
	var ue *url.Error
	require.ErrorAs(t, got, &ue)
	require.False(t, ue.Timeout())
	require.ErrorIs(t, got, thole.ErrRejected)
	reason, _ := thole.ReasonOf(got)
	require.Equal(t, thole.ReasonOpen, reason)
}

// waiting is a policy that waits for leave which never comes.
func waiting(begun chan<- struct{}) thole.Policy {
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		close(begun)
		<-ctx.Done()
		return errors.Join(errRefused, ctx.Err())
	})
}

func TestTransport_rule06_callersEndInterruptsPoliciesThatWait(t *testing.T) {
	rows := map[string]func(r *http.Request) (*http.Request, func()){
		"context": func(r *http.Request) (*http.Request, func()) {
			ctx, c := context.WithCancel(r.Context())
			return r.WithContext(ctx), c
		},
		"Request.Cancel": func(r *http.Request) (*http.Request, func()) {
			ch := make(chan struct{})
			//lint:ignore SA1019 it is what this is about
			r.Cancel = ch
			return r, func() { close(ch) }
		},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, body := request(t, http.MethodPut, "content", true)
				r, cancel := row(r)
				begun := make(chan struct{})
				go func() { <-begun; cancel() }()
				start := time.Now()
				_, err := transport(nil, waiting(begun)).RoundTrip(r)
				require.ErrorIs(t, err, context.Canceled)
				require.ErrorIs(t, err, thole.ErrRejected)
				require.Zero(t, time.Since(start))
				require.EqualValues(t, 1, body.closes.Load())
			})
		})
	}
}

func TestTransport_rule06_callersEndDuringAnAttemptIsIgnored(t *testing.T) {
	left := errors.New("the user left")
	rows := map[string]func(context.Context) (context.Context, func()){
		"cancel": func(ctx context.Context) (context.Context, func()) { c, f := context.WithCancel(ctx); return c, f },
		"cancel with cause": func(ctx context.Context) (context.Context, func()) {
			c, f := context.WithCancelCause(ctx)
			return c, func() { f(left) }
		},
	}
	eachProtocol(t, func(t *testing.T, h2 bool) {
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				begun := make(chan struct{})
				srv, base := listen(t, h2, func(_ http.ResponseWriter, r *http.Request) { close(begun); <-r.Context().Done() })
				ctx, cancel := row(t.Context())
				go func() { <-begun; cancel() }()
				s := &spy{}
				_, err := transport(base, thole.Chain(stubborn(3), s)).RoundTrip(get(t, srv.URL).WithContext(ctx))
				require.ErrorIs(t, err, context.Canceled)
				if !h2 { // where net/http reports the cause
					require.ErrorIs(t, err, context.Cause(ctx))
				}
				require.Equal(t, thole.Ignored, s.outcomes[0])
			})
		}
	})
}

func TestTransport_endedContextSendsNothing(t *testing.T) {
	left := errors.New("the user left")
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(left)
	closed := make(chan struct{})
	close(closed)
	base := roundTripper(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, nil })
	_, err := transport(base, stubborn(3)).RoundTrip(get(t, "http://server.test/").WithContext(ctx))
	require.ErrorIs(t, err, left)
	require.ErrorIs(t, err, context.Canceled)
	require.Equal(t, left.Error(), err.Error())
	r := get(t, "http://server.test/")
	//lint:ignore SA1019 it is what this is about
	r.Cancel = closed
	_, err = transport(base, stubborn(3)).RoundTrip(r)
	require.ErrorIs(t, err, context.Canceled)
}

func TestTransport_clientTimeout(t *testing.T) {
	t.Run("while a policy waits", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			begun := make(chan struct{})
			client := &http.Client{Transport: transport(nil, waiting(begun)), Timeout: time.Second}
			start := time.Now()
			_, err := client.Get("http://server.test/")
			require.True(t, err.(*url.Error).Timeout(), "%v", err)
			require.Equal(t, time.Second, time.Since(start))
		})
	})
	for _, path := range []string{"/headers", "/body"} {
		t.Run("in the "+path[1:], func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if r.URL.Path == "/body" {
						_, _ = io.WriteString(w, "some")
						_ = http.NewResponseController(w).Flush()
					}
					<-r.Context().Done()
				})
				scope := &scoped{}
				client := &http.Client{Transport: transport(base, thole.Chain(retrying(3, nil), scope)), Timeout: time.Second}
				start := time.Now()
				resp, err := client.Get("http://server.test" + path)
				if path == "/body" {
					require.NoError(t, err)
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				var ne net.Error
				require.ErrorAs(t, err, &ne)
				require.True(t, ne.Timeout(), "%v", err)
				require.Equal(t, time.Second, time.Since(start))
				require.Equal(t, scope.made.Load(), scope.ended.Load())
			})
		})
	}
	t.Run("leaves nothing behind", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) { _, _ = io.WriteString(w, "fine") })
			client := &http.Client{Transport: transport(base, retrying(3, nil)), Timeout: time.Minute}
			for range 100 {
				resp, err := client.Get("http://server.test/")
				require.NoError(t, err)
				require.Equal(t, "fine", readAll(t, resp))
			}
		})
	})
}

func TestTransport_rule44_clientTimeoutIsAFailureEachTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			<-r.Context().Done()
			return nil, context.Cause(r.Context())
		})
		seen := &spy{}
		client := &http.Client{Transport: transport(base, seen), Timeout: time.Second}
		for range 200 { // the timers of Client and of its context race
			_, err := client.Get("http://server.test/")
			require.True(t, err.(*url.Error).Timeout(), "%v", err)
		}
		for i, outcome := range seen.outcomes {
			require.Equal(t, thole.Failure, outcome, "call %d: %v", i, seen.errs[i])
		}
	})
}

func TestTransport_cancelChannelAfterADeadlineThatDoesNotEndTheContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cancel := make(chan struct{})
		r := get(t, "http://server.test/").WithContext(idle{t.Context(), time.Now()})
		//lint:ignore SA1019 it is what the test is about
		r.Cancel = cancel
		close(cancel)
		start := time.Now()
		_, err := transport(nil, thole.Chain()).RoundTrip(r)
		require.ErrorIs(t, err, context.Canceled)
		require.LessOrEqual(t, time.Since(start), time.Second)
	})
}

// idle is a context that tells a deadline but does not end then.
type idle struct {
	context.Context
	deadline time.Time
}

func (i idle) Deadline() (time.Time, bool) { return i.deadline, true }

func TestTransport_fallback(t *testing.T) {
	boom := errors.New("boom")
	failing := roundTripper(func(*http.Request) (*http.Response, error) { return nil, boom })
	const original = "Service Unavailable"
	rows := map[string]struct {
		fallback func(*http.Request, error, *bodies) (*http.Response, error)
		status   int // on a 503; 0: the error of the fallback
		body     string
	}{
		"alternative": {func(r *http.Request, _ error, made *bodies) (*http.Response, error) {
			return reply(r, 200, made.new("cached")), nil
		}, 200, "cached"},
		"declines with the error": {func(_ *http.Request, err error, _ *bodies) (*http.Response, error) { return nil, err }, 503, original},
		"declines, wrapping it": {func(_ *http.Request, err error, _ *bodies) (*http.Response, error) {
			return nil, fmt.Errorf("no: %w", err)
		}, 503, original},
		"declines with nothing": {func(*http.Request, error, *bodies) (*http.Response, error) { return nil, nil }, 503, original},
		"returns what it was given": {func(_ *http.Request, err error, _ *bodies) (*http.Response, error) {
			var se *tholehttp.StatusError
			if errors.As(err, &se) {
				return se.Response, nil
			}
			return nil, err
		}, 503, original},
		"fails itself": {func(*http.Request, error, *bodies) (*http.Response, error) { return nil, io.ErrUnexpectedEOF }, 0, ""},
		"response and an error": {func(r *http.Request, _ error, made *bodies) (*http.Response, error) {
			return reply(r, 200, made.new("x")), io.ErrUnexpectedEOF
		}, 0, ""},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			var made bodies
			var given error
			cfg := tholehttp.TransportConfig{Fallback: func(r *http.Request, err error) (*http.Response, error) {
				given = err
				return row.fallback(r, err, &made)
			}}
			for _, p := range []thole.Policy{retrying(2, nil), nil, thole.Chain(&scoped{}, stubborn(2))} {
				resp, err := tholehttp.NewTransport(statuses(&made, 503), p, cfg).RoundTrip(get(t, "http://server.test/"))
				var se *tholehttp.StatusError
				require.ErrorAs(t, given, &se)
				if row.status == 0 {
					require.Same(t, io.ErrUnexpectedEOF, err)
				} else {
					require.NoError(t, err)
					require.Equal(t, row.status, resp.StatusCode)
					require.Equal(t, row.body, readAll(t, resp))
				}
				made.requireClosed(t)

				resp, err = tholehttp.NewTransport(failing, p, cfg).RoundTrip(get(t, "http://server.test/"))
				require.ErrorIs(t, given, boom)
				switch row.status {
				case 200:
					require.NoError(t, err)
					require.Equal(t, "cached", readAll(t, resp))
				case 503:
					require.ErrorIs(t, err, boom)
				default:
					require.Same(t, io.ErrUnexpectedEOF, err)
				}
				made.requireClosed(t)
			}
			given = nil
			resp, err := tholehttp.NewTransport(statuses(&made, 404), retrying(2, nil), cfg).RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, 404, resp.StatusCode)
			readAll(t, resp)
			assert.NoError(t, given, "an answer needs no fallback")
		})
	}
}
