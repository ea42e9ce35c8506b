package tholehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/cookiejar"
	"regexp"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

func TestTransport_rule46_attemptNumberIsVisible(t *testing.T) {
	type seen struct {
		attempt thole.Attempt
		resends int
	}
	watch := func(p thole.Policy, codes ...int) []seen {
		var made bodies
		var mu sync.Mutex
		var all []seen
		answers := statuses(&made, codes...)
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			mu.Lock()
			all = append(all, seen{thole.AttemptFrom(r.Context()), tholehttp.ResendCount(r.Context())})
			mu.Unlock()
			return answers.RoundTrip(r)
		})
		resp, err := transport(base, p).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		readAll(t, resp)
		return all
	}
	require.Equal(t, []seen{{}, {thole.Attempt{Number: 1}, 1}, {thole.Attempt{Number: 2}, 2}}, watch(retrying(3, nil), 503))
	require.Equal(t, []seen{{}, {resends: 1}}, watch(stubborn(3), 503, 200), "whatever the policy says")
	var hedges, resends []int
	for _, s := range watch(racing(3), 503) {
		hedges, resends = append(hedges, s.attempt.Hedge), append(resends, s.resends)
	}
	require.ElementsMatch(t, []int{0, 1, 2}, hedges)
	require.ElementsMatch(t, []int{0, 1, 2}, resends)
	require.Zero(t, tholehttp.ResendCount(t.Context()))
}

func TestTransport_rule46_redirectsAndCookiesAreTheClients(t *testing.T) {
	eachProtocol(t, func(t *testing.T, h2 bool) {
		var n atomic.Int64
		s, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			body, _ := io.ReadAll(r.Body)
			if n.Add(1)%2 == 1 { // every request fails once
				w.WriteHeader(503)
				return
			}
			switch r.URL.Path {
			case "/start":
				http.SetCookie(w, &http.Cookie{Name: "session", Value: "abc", Path: "/"})
				http.Redirect(w, r, "/next", http.StatusTemporaryRedirect)
			case "/next":
				c, err := r.Cookie("session")
				if err != nil {
					t.Error(err)
					return
				}
				_, _ = fmt.Fprintf(w, "%s %s %s", r.Method, c.Value, body)
			}
		})
		jar, err := cookiejar.New(nil)
		require.NoError(t, err)
		var direct bool
		client := &http.Client{Transport: transport(base, retrying(3, nil)), Jar: jar,
			CheckRedirect: func(r *http.Request, via []*http.Request) error {
				if direct {
					return http.ErrUseLastResponse
				}
				return nil
			}}
		put := func() *http.Response {
			r, err := http.NewRequest(http.MethodPut, s.URL+"/start", strings.NewReader("content"))
			require.NoError(t, err)
			resp, err := client.Do(r)
			require.NoError(t, err)
			return resp
		}
		resp := put()
		require.Equal(t, "PUT abc content", readAll(t, resp))
		require.Equal(t, "/next", resp.Request.URL.Path)
		direct = true
		resp = put()
		require.Equal(t, 307, resp.StatusCode)
		readAll(t, resp)
	})
}

func TestTransport_rule01_panicAndGoexitLeaveNothingOpen(t *testing.T) {
	for name, leave := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
		for where, p := range map[string]func(*scoped) thole.Policy{
			"retry": func(s *scoped) thole.Policy { return thole.Chain(retrying(3, nil), s) },
			"after a response": func(s *scoped) thole.Policy {
				return thole.Chain(s, thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					_ = fn(ctx)
					leave()
					return nil
				}))
			},
		} {
			t.Run(name+"/"+where, func(t *testing.T) {
				var made bodies
				n := 0
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					consume(r)
					if n++; n == 2 {
						leave()
					}
					return reply(r, 503, made.new("x")), nil
				})
				scope := &scoped{}
				r, body := request(t, http.MethodPut, "content", true)
				var value any
				ended := make(chan struct{})
				go func() {
					defer close(ended)
					defer func() { value = recover() }()
					_, _ = transport(base, p(scope)).RoundTrip(r)
				}()
				<-ended
				if name == "panic" {
					require.Equal(t, "boom", value)
				}
				made.requireClosed(t)
				require.EqualValues(t, 1, body.closes.Load())
				require.Equal(t, scope.made.Load(), scope.ended.Load())
			})
		}
	}
}

func TestTransport_rule02_nothingAccumulatesUnderALongLivedContext(t *testing.T) {
	scope := &scoped{}
	var made bodies
	tr := transport(statuses(&made, 503), thole.Chain(scope, retrying(3, nil), scope, racing(2), scope))
	synctest.Test(t, func(t *testing.T) { // which fails on a goroutine left over
		ctx, cancel := context.WithCancel(t.Context())
		for i := range 300 {
			resp, err := tr.RoundTrip(get(t, "http://server.test/").WithContext(ctx))
			require.NoError(t, err)
			if i%2 == 0 {
				_, err = io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, scope.made.Load(), scope.ended.Load(), "every context made has ended")
			}
			require.NoError(t, resp.Body.Close())
			require.Equal(t, scope.made.Load(), scope.ended.Load(), "every context made has ended")
		}
		made.requireClosed(t)
		cancel()
	})
}

func TestTransport_rule03_hooksMayUseTheTransport(t *testing.T) {
	var made bodies
	var tr *tholehttp.Transport
	inside := false
	again := func() {
		if !inside {
			inside = true
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			readAll(t, resp)
			inside = false
		}
	}
	tr = tholehttp.NewTransport(statuses(&made, 503), retrying(2, nil), tholehttp.TransportConfig{
		Outcome: func(resp *http.Response, err error) thole.Outcome {
			again()
			return tholehttp.DefaultOutcome(resp, err)
		},
		Repeatable: func(r *http.Request) bool { again(); return tholehttp.DefaultRepeatable(r) },
		Fallback:   func(_ *http.Request, err error) (*http.Response, error) { again(); return nil, err },
	})
	resp, err := tr.RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Equal(t, 503, resp.StatusCode)
	readAll(t, resp)
	made.requireClosed(t)
}

func TestTransport_rule04_oneInstanceManyCallers(t *testing.T) {
	var made bodies
	var n atomic.Int64
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		want := r.URL.Query().Get("n")
		if got := consume(r); got != want {
			t.Errorf("request %s got the body %q", want, got)
		}
		status := 200
		if n.Add(1)%3 == 0 {
			status = 503
		}
		resp := reply(r, status, made.new(want))
		return resp, nil
	})
	scope := &scoped{}
	tr := transport(base, thole.Chain(scope, retrying(3, nil), racing(2), scope))
	var wg sync.WaitGroup
	for i := range 200 {
		wg.Go(func() {
			want := fmt.Sprint(i)
			r, err := http.NewRequest(http.MethodPut, "http://server.test/?n="+want, strings.NewReader(want))
			if err != nil {
				t.Error(err)
				return
			}
			resp, err := tr.RoundTrip(r)
			if err != nil {
				t.Error(err)
				return
			}
			if got, _ := io.ReadAll(resp.Body); string(got) != want {
				t.Errorf("request %s got the response %q", want, got)
			}
		})
	}
	wg.Wait()
}

func TestTransport_responseNeverChangesAfterReturn(t *testing.T) {
	// The losers of a race arrive after the winner was returned.
	synctest.Test(t, func(t *testing.T) {
		var made bodies
		release := make(chan struct{})
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			h := thole.AttemptFrom(r.Context()).Hedge
			if h != 1 {
				<-release
			}
			return reply(r, []int{503, 200, 200}[h], made.new(fmt.Sprint("attempt ", h))), nil
		})
		resp, err := transport(base, racing(3)).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		before := *resp
		close(release)
		synctest.Wait()
		require.Equal(t, before, *resp)
		require.Equal(t, "attempt 1", readAll(t, resp))
		made.requireClosed(t)
	})
}

func TestTransport_losersAreToldThatTheyWereCancelled(t *testing.T) {
	var made bodies
	var errs []error
	p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		for range 3 {
			errs = append(errs, fn(ctx))
		}
		return nil
	})
	resp, err := transport(statuses(&made, 200), p).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Equal(t, "OK", readAll(t, resp))
	require.Equal(t, []error{nil, context.Canceled, context.Canceled}, errs)
	require.Len(t, made.all, 1)
}

func TestTransport_runAfterTheEndSendsNothing(t *testing.T) {
	var late func(context.Context) error
	p := thole.PolicyFunc(func(_ context.Context, fn func(context.Context) error) error { late = fn; return errRefused })
	base := roundTripper(func(*http.Request) (*http.Response, error) { t.Error("sent"); return nil, nil })
	_, err := transport(base, p).RoundTrip(get(t, "http://server.test/"))
	require.Same(t, errRefused, err)
	require.ErrorIs(t, late(t.Context()), context.Canceled)
}

func TestTransport_policyThatDropsContextValues(t *testing.T) {
	var made bodies
	p := thole.PolicyFunc(func(_ context.Context, fn func(context.Context) error) error { return fn(context.Background()) })
	resp, err := transport(statuses(&made, 503), p).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Equal(t, "Service Unavailable", readAll(t, resp))
}

func TestTransport_noPolicyIsNoDifference(t *testing.T) {
	boom := errors.New("boom")
	r := get(t, "http://server.test/")
	base := roundTripper(func(got *http.Request) (*http.Response, error) {
		require.Same(t, r, got)
		return nil, boom
	})
	_, err := tholehttp.NewTransport(base, nil, tholehttp.TransportConfig{}).RoundTrip(r)
	require.Same(t, boom, err)
}

var streamID = regexp.MustCompile(`stream ID \d+`)

// TestTransport_sameAsBare compares what a client sees with and without the transport.
func TestTransport_sameAsBare(t *testing.T) {
	type sight struct {
		Status, Proto, Body, Err string
		Length                   int64
		Trailer, Header          http.Header
		NoBody, Uncompressed     bool
	}
	look := func(rt http.RoundTripper, r *http.Request) (s sight) {
		resp, err := (&http.Client{Transport: rt, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}).Do(r)
		if err != nil {
			return sight{Err: err.Error()}
		}
		defer resp.Body.Close()
		s = sight{Status: resp.Status, Proto: resp.Proto, Length: resp.ContentLength, Header: resp.Header,
			NoBody: resp.Body == http.NoBody, Uncompressed: resp.Uncompressed}
		b, err := io.ReadAll(resp.Body)
		if err != nil {
			s.Err = streamID.ReplaceAllString(err.Error(), "")
		}
		s.Body, s.Trailer = string(b), resp.Trailer
		s.Header.Del("Date")
		return s
	}
	kinds := map[string]func() io.Reader{
		"none":   func() io.Reader { return nil },
		"memory": func() io.Reader { return strings.NewReader("content") },
		"stream": func() io.Reader { return io.MultiReader(strings.NewReader("con"), strings.NewReader("tent")) },
	}
	eachProtocol(t, func(t *testing.T, h2 bool) {
		s, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			b, _ := io.ReadAll(r.Body)
			w.Header().Set("X-Got", fmt.Sprintf("%s %q %d %v", r.Method, b, r.ContentLength, r.Header))
			w.Header().Set("Location", "/elsewhere")
			var status int
			_, _ = fmt.Sscanf(r.URL.Path, "/%d", &status)
			if r.URL.Query().Has("abort") {
				w.Header().Set("Content-Length", "100")
			}
			w.Header().Set(http.TrailerPrefix+"X-End", "end")
			w.WriteHeader(status)
			_, _ = fmt.Fprintf(w, "%d", status)
			if r.URL.Query().Has("abort") {
				_ = http.NewResponseController(w).Flush()
				panic(http.ErrAbortHandler)
			}
		})
		wrappers := map[string]http.RoundTripper{
			"retry":       transport(base, retrying(2, nil)),
			"race":        transport(base, racing(2)),
			"own context": transport(base, thole.Chain(&scoped{}, retrying(2, nil), &scoped{})),
		}
		for _, method := range []string{"GET", "HEAD", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "bad method"} {
			for kind, body := range kinds {
				for _, path := range []string{"/200", "/204", "/304", "/307", "/404", "/429", "/500", "/501", "/503", "/200?abort"} {
					if kind != "none" && strings.HasSuffix(path, "abort") {
						continue // what a client sees when the server hangs up on an upload is luck
					}
					newRequest := func() *http.Request {
						r, err := http.NewRequest("GET", s.URL+path, body())
						require.NoError(t, err)
						r.Method = method
						return r
					}
					want := look(base, newRequest())
					for name, tr := range wrappers {
						require.Equal(t, want, look(tr, newRequest()), "%s %s with body %s under %s", method, path, kind, name)
					}
				}
			}
		}
	})
}

func FuzzTransportConfig(f *testing.F) {
	for _, n := range []int64{0, -1, 1, 6, 7, 8, 1 << 40, -1 << 63, 1<<63 - 1} {
		f.Add(n, int64(7), "content")
		f.Add(n, int64(1<<40), "content")
		f.Add(n, int64(-5), "")
	}
	f.Fuzz(func(t *testing.T, limit, length int64, content string) {
		r, body := request(t, http.MethodPut, content, false)
		r.ContentLength = length
		sent := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			sent++
			got := consume(r)
			if !strings.HasPrefix(content, got) {
				t.Errorf("attempt %d sent %q", sent, got)
			}
			return reply(r, 503, http.NoBody), nil
		})
		cfg := tholehttp.TransportConfig{MaxReplayBytes: limit}
		resp, err := tholehttp.NewTransport(base, retrying(2, nil), cfg).RoundTrip(r)
		if err != nil || resp.StatusCode != 503 {
			t.Fatal(resp, err)
		}
		if limit == 0 {
			limit = 64 << 10
		}
		want := 1
		if 0 < length && length <= limit {
			want = 2
		}
		if sent != want || body.closes.Load() != 1 {
			t.Fatalf("sent %d times, want %d; body closed %d times", sent, want, body.closes.Load())
		}
	})
}
