package tholehttp_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

func TestTransport_rule42_bodyIsClosedOnceOnEveryPath(t *testing.T) {
	boom := errors.New("boom")
	answers := func(codes ...int) func(*bodies) http.RoundTripper {
		return func(made *bodies) http.RoundTripper { return statuses(made, codes...) }
	}
	fails := func(*bodies) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { consume(r); return nil, boom })
	}
	refuses := func(*bodies) http.RoundTripper { // as net/http does a malformed request
		return roundTripper(func(r *http.Request) (*http.Response, error) { r.Body.Close(); return nil, boom })
	}
	panics := func(*bodies) http.RoundTripper {
		return roundTripper(func(r *http.Request) (*http.Response, error) { r.Body.Close(); panic(boom) })
	}
	canceled, cancel := context.WithCancel(context.Background())
	cancel()
	rows := map[string]struct {
		base   func(*bodies) http.RoundTripper
		policy thole.Policy
		ctx    context.Context
		cfg    tholehttp.TransportConfig
	}{
		"answered":             {base: answers(200), policy: retrying(3, nil)},
		"retried":              {base: answers(503, 503, 200), policy: retrying(3, nil)},
		"retried in vain":      {base: answers(503), policy: retrying(3, nil)},
		"stubbornly":           {base: answers(503, 503, 200), policy: stubborn(3)},
		"raced":                {base: answers(200), policy: racing(3)},
		"raced in vain":        {base: answers(503), policy: racing(3)},
		"rejected":             {base: answers(200), policy: refusing()},
		"policy never runs it": {base: answers(200), policy: thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return nil })},
		"done beforehand":      {base: answers(200), policy: retrying(3, nil), ctx: canceled},
		"transport error":      {base: fails, policy: retrying(3, nil)},
		"not even read":        {base: refuses, policy: retrying(3, nil)},
		"base panics":          {base: panics, policy: retrying(3, nil)},
		"policy panics": {base: answers(200), policy: thole.PolicyFunc(func(context.Context, func(context.Context) error) error {
			panic(boom)
		})},
		"fallback": {base: answers(503), policy: retrying(2, nil), cfg: tholehttp.TransportConfig{
			Fallback: func(r *http.Request, _ error) (*http.Response, error) { return reply(r, 200, nil), nil }}},
		"fallback after a rejection": {base: answers(503), policy: refusing(), cfg: tholehttp.TransportConfig{
			Fallback: func(r *http.Request, _ error) (*http.Response, error) { return reply(r, 200, nil), nil }}},
		"fallback sends it again": {base: answers(503), policy: retrying(2, nil), cfg: tholehttp.TransportConfig{
			Fallback: func(r *http.Request, _ error) (*http.Response, error) { consume(r); return nil, boom }}},
		"hook panics": {base: answers(503), policy: retrying(2, nil), cfg: tholehttp.TransportConfig{
			Repeatable: func(*http.Request) bool { panic(boom) }}},
		"fallback panics": {base: answers(503), policy: retrying(2, nil), cfg: tholehttp.TransportConfig{
			Fallback: func(*http.Request, error) (*http.Response, error) { panic(boom) }}},
	}
	kinds := map[string]struct {
		method string
		replay bool
		keep   int64
	}{
		"sent once":         {method: http.MethodPost},
		"POST with GetBody": {method: http.MethodPost, replay: true},
		"with GetBody":      {method: http.MethodPut, replay: true},
		"kept in memory":    {method: http.MethodPut},
		"not kept":          {method: http.MethodPut, keep: -1},
	}
	for name, row := range rows {
		for kind, k := range kinds {
			t.Run(name+"/"+kind, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					var made bodies
					r, body := request(t, k.method, "content", k.replay)
					if row.ctx != nil {
						r = r.WithContext(row.ctx)
					}
					before := *r
					cfg := row.cfg
					cfg.MaxReplayBytes = k.keep
					func() {
						defer func() { _ = recover() }()
						resp, err := tholehttp.NewTransport(row.base(&made), row.policy, cfg).RoundTrip(r)
						require.True(t, (resp == nil) != (err == nil), "exactly one of response and error")
						if resp != nil && resp.Body != nil {
							readAll(t, resp)
						}
					}()
					synctest.Wait()
					require.EqualValues(t, 1, body.closes.Load(), "closes")
					require.Zero(t, body.late.Load(), "reads after Close")
					require.Equal(t, before.Body, r.Body)
					require.Equal(t, before.GetBody == nil, r.GetBody == nil)
					require.Equal(t, before.ContentLength, r.ContentLength)
					require.Equal(t, before.Header, r.Header)
					require.Equal(t, before.Context(), r.Context())
					made.requireClosed(t)
				})
			})
		}
	}
}

// A base that panicked before it closed its attempt's body left the caller's open for ever.
func TestTransport_rule42_bodyIsClosedWhenTheBasePanicsOverIt(t *testing.T) {
	for _, kind := range []string{"GetBody", "kept in memory"} {
		for how, end := range map[string]func(){"panic": func() { panic("boom") }, "Goexit": runtime.Goexit} {
			t.Run(kind+"/"+how, func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					r, body := request(t, http.MethodPut, "content", kind == "GetBody")
					base := roundTripper(func(*http.Request) (*http.Response, error) { end(); return nil, nil })
					done := make(chan struct{})
					go func() {
						defer close(done)
						defer func() { _ = recover() }()
						tholehttp.NewTransport(base, retrying(3, nil), tholehttp.TransportConfig{}).RoundTrip(r)
					}()
					<-done
					require.EqualValues(t, 1, body.closes.Load())
				})
			})
		}
	}
}

func TestTransport_rule42_bodyIsClosedLast(t *testing.T) {
	// The base answers while it still sends the body, as net/http may; and readers made by
	// GetBody share the caller's buffer, which is the caller's again at Close.
	for _, kind := range []string{"first attempt", "GetBody's reader", "the base's own replay", "kept in memory"} {
		t.Run(kind, func(t *testing.T) {
			r, body := request(t, http.MethodPut, "content", kind != "kept in memory")
			var sending io.ReadCloser
			n := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				if n++; n == 1 && kind == "GetBody's reader" {
					consume(r)
					return reply(r, 503, http.NoBody), nil
				}
				if kind == "the base's own replay" {
					consume(r)
					again, err := r.GetBody()
					require.NoError(t, err)
					r.Body = again
				}
				sending = r.Body
				return reply(r, 200, http.NoBody), nil
			})
			resp, err := transport(base, retrying(2, nil)).RoundTrip(r)
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode)
			require.Zero(t, body.closes.Load(), "closed while it was being sent")
			b, err := io.ReadAll(sending)
			require.NoError(t, err)
			require.Equal(t, "content", string(b))
			require.NoError(t, sending.Close())
			require.NoError(t, sending.Close())
			require.EqualValues(t, 1, body.closes.Load())
			_, err = sending.Read(make([]byte, 1))
			require.ErrorIs(t, err, http.ErrBodyReadAfterClose)
		})
	}
}

func TestTransport_rule42_bodyIsNotClosedWhileItIsRead(t *testing.T) {
	// net/http closes the body of a cancelled request while its writing goroutine may be
	// inside Read: the caller's buffer is not free before that Read has returned.
	r, body := request(t, http.MethodPut, "content", false)
	reading, goOn := make(chan struct{}), make(chan struct{})
	r.GetBody = func() (io.ReadCloser, error) {
		return io.NopCloser(readerFunc(func([]byte) (int, error) { close(reading); <-goOn; return 0, io.EOF })), nil
	}
	ended := make(chan struct{})
	n := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if n++; n == 1 {
			consume(r)
			return nil, errors.New("boom")
		}
		go func() { _, _ = r.Body.Read(make([]byte, 1)); close(ended) }()
		<-reading
		r.Body.Close()
		return reply(r, 200, http.NoBody), nil
	})
	_, err := transport(base, retrying(2, nil)).RoundTrip(r)
	require.NoError(t, err)
	require.Zero(t, body.closes.Load())
	close(goOn)
	<-ended
	require.EqualValues(t, 1, body.closes.Load())
}

func TestTransport_rule42_respRequestIsTheCallersPointer(t *testing.T) {
	eachProtocol(t, func(t *testing.T, h2 bool) {
		s, base := listen(t, h2, func(http.ResponseWriter, *http.Request) {})
		r := get(t, s.URL)
		resp, err := transport(base, thole.Chain(retrying(3, nil), racing(2))).RoundTrip(r)
		require.NoError(t, err)
		require.Same(t, r, resp.Request)
		readAll(t, resp)
	})
}

func TestTransport_rule42_oneAttemptGetsTheBodyAsItIs(t *testing.T) {
	rows := map[string]func(*http.Request) *http.Request{
		"not repeatable": func(r *http.Request) *http.Request { r.Method = http.MethodPost; return r },
		"unknown length": func(r *http.Request) *http.Request { r.ContentLength = -1; return r },
		"no length":      func(r *http.Request) *http.Request { r.ContentLength = 0; return r },
		"too long":       func(r *http.Request) *http.Request { r.ContentLength = 64<<10 + 1; return r },
		"trailers":       func(r *http.Request) *http.Request { r.Trailer = http.Header{"X": nil}; return r },
		"caller's Once":  func(r *http.Request) *http.Request { return r.WithContext(thole.Once(r.Context())) },
	}
	for name, change := range rows {
		t.Run(name, func(t *testing.T) {
			r, body := request(t, http.MethodPut, "content", false)
			r = change(r)
			sent := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				sent++
				require.Same(t, body, r.Body)
				require.False(t, thole.Repeatable(r.Context()))
				consume(r)
				return reply(r, 503, http.NoBody), nil
			})
			for _, p := range []thole.Policy{retrying(3, nil), stubborn(3), racing(3)} {
				sent = 0
				body.closes.Store(0)
				resp, err := transport(base, p).RoundTrip(r)
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode)
				require.Equal(t, 1, sent)
			}
		})
	}
}

func TestTransport_rule42_attemptsSendTheWholeBodyEach(t *testing.T) {
	const content = "a body that is sent as often as it takes"
	policies := map[string]thole.Policy{
		"retry": retrying(3, nil), "race": racing(3), "stubborn": stubborn(3),
		"retry of races": thole.Chain(retrying(3, nil), racing(3)),
	}
	eachProtocol(t, func(t *testing.T, h2 bool) {
		for name, p := range policies {
			for _, replay := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/GetBody %v", name, replay), func(t *testing.T) {
					var n, whole atomic.Int64
					s, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
						if b, err := io.ReadAll(r.Body); err == nil && string(b) == content {
							whole.Add(1)
						}
						if n.Add(1) < 3 {
							w.WriteHeader(503)
						}
					})
					r, body := request(t, http.MethodPut, content, replay)
					r.URL.Host, r.URL.Scheme = strings.TrimPrefix(strings.TrimPrefix(s.URL, "http://"), "https://"), s.URL[:strings.Index(s.URL, ":")]
					resp, err := transport(base, p).RoundTrip(r)
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
					readAll(t, resp)
					require.GreaterOrEqual(t, whole.Load(), int64(1))
					if name == "retry" {
						require.EqualValues(t, 3, whole.Load())
					}
					require.Eventually(t, func() bool { return body.closes.Load() == 1 }, 5e9, 1e6)
				})
			}
		}
	})
}

func TestTransport_rule42_noTwoAttemptsShareAReader(t *testing.T) {
	for _, replay := range []bool{true, false} {
		t.Run(fmt.Sprintf("GetBody %v", replay), func(t *testing.T) {
			content := strings.Repeat("0123456789", 1000)
			r, _ := request(t, http.MethodPut, content, replay)
			var mu sync.Mutex
			seen := map[io.ReadCloser]bool{}
			var started sync.WaitGroup
			started.Add(8)
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				mu.Lock()
				assert.False(t, seen[r.Body])
				seen[r.Body] = true
				mu.Unlock()
				started.Done()
				started.Wait()
				assert.Equal(t, content, consume(r))
				return reply(r, 503, http.NoBody), nil
			})
			_, err := transport(base, racing(8)).RoundTrip(r)
			require.NoError(t, err)
			require.Len(t, seen, 8)
		})
	}
}

func TestTransport_rule42_streamingStartsBeforeTheEnd(t *testing.T) {
	for name, length := range map[string]int64{"unknown length": -1, "known length, kept": 10} {
		t.Run(name, func(t *testing.T) {
			got := make(chan string)
			s, base := listen(t, false, func(w http.ResponseWriter, r *http.Request) {
				half := make([]byte, 5)
				_, err := io.ReadFull(r.Body, half)
				assert.NoError(t, err)
				got <- string(half)
				rest, _ := io.ReadAll(r.Body)
				got <- string(rest)
			})
			body, feed := io.Pipe()
			r, err := http.NewRequest(http.MethodPut, s.URL, body)
			require.NoError(t, err)
			r.ContentLength = length
			ended := make(chan error, 1)
			go func() {
				resp, err := transport(base, retrying(3, nil)).RoundTrip(r)
				if err == nil {
					err = resp.Body.Close()
				}
				ended <- err
			}()
			_, _ = io.WriteString(feed, "first")
			require.Equal(t, "first", <-got, "on its way before the body has ended")
			_, _ = io.WriteString(feed, "-last")
			_ = feed.Close()
			require.Equal(t, "-last", <-got)
			require.NoError(t, <-ended)
		})
	}
}

func TestTransport_keptBodyThatIsNotAsLongAsItSays(t *testing.T) {
	for _, content := range []string{"too short", "much longer than its ContentLength says it is"} {
		s, base := listen(t, false, func(_ http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			<-r.Context().Done() // no answer may come first
		})
		r, body := request(t, http.MethodPut, content, false)
		r.ContentLength = 20
		r.URL.Host = strings.TrimPrefix(s.URL, "http://")
		n := 0
		counting := roundTripper(func(r *http.Request) (*http.Response, error) { n++; return base.RoundTrip(r) })
		_, err := transport(counting, retrying(3, nil)).RoundTrip(r)
		require.ErrorContains(t, err, "http: ContentLength=20 with Body length")
		require.Equal(t, 1, n)
		require.EqualValues(t, 1, body.closes.Load())
	}
}

func TestTransport_rule42_bodyThatCannotBeReadAgain(t *testing.T) {
	lost := errors.New("the file is gone")
	r, body := request(t, http.MethodPut, "content", false)
	r.GetBody = func() (io.ReadCloser, error) { return nil, lost }
	var made bodies
	_, err := transport(statuses(&made, 503), retrying(5, nil)).RoundTrip(r)
	require.Same(t, lost, err, "the caller's own error, as net/http returns it")
	require.EqualValues(t, 1, body.closes.Load())
	require.Len(t, made.all, 1)
	made.requireClosed(t)
}

func TestTransport_rule42_headerIsNotSharedByRepeatedAttempts(t *testing.T) {
	// A base that adds to the header it is given breaks the RoundTripper contract, and many do.
	r := get(t, "http://server.test/")
	n := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		if n++; n > 1 {
			r.Header.Add("X-Attempt", fmt.Sprint(n))
		}
		return reply(r, 503, http.NoBody), nil
	})
	_, err := transport(base, retrying(3, nil)).RoundTrip(r)
	require.NoError(t, err)
	require.Empty(t, r.Header)
}

func TestTransport_rule43_whatIsSentMoreThanOnce(t *testing.T) {
	const once, often = 1, 3
	header := func(key string, values ...string) func(*http.Request) {
		return func(r *http.Request) { r.Header[key] = values }
	}
	rows := []struct {
		method string
		change func(*http.Request)
		want   int
	}{
		{"", nil, often}, {"GET", nil, often}, {"HEAD", nil, often}, {"OPTIONS", nil, often}, {"TRACE", nil, often},
		{"PUT", nil, often}, {"DELETE", nil, often},
		{"POST", nil, once}, {"PATCH", nil, once}, {"CONNECT", nil, once}, {"get", nil, once}, {"PROPFIND", nil, once},
		{"POST", header("Idempotency-Key", "abc"), often},
		{"PATCH", header("X-Idempotency-Key", "abc"), often},
		{"POST", header("Idempotency-Key"), often}, // as net/http has it
		{"GET", header("Upgrade", "websocket"), once},
		{"GET", header("Expect", "100-continue"), once},
		{"GET", func(r *http.Request) { r.Trailer = http.Header{"X": nil} }, once},
		{"CONNECT", header("Idempotency-Key", "abc"), once},
		{"GET", func(r *http.Request) { *r = *r.WithContext(thole.Once(r.Context())) }, once},
	}
	policies := map[string]thole.Policy{
		"retry": retrying(often, nil), "race": racing(often), "a retry that repeats everything": stubborn(often),
		"a race that repeats everything": thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			errs := make(chan error, often)
			for range often {
				go func() { errs <- fn(ctx) }()
			}
			return errors.Join(<-errs, <-errs, <-errs)
		}),
	}
	for name, p := range policies {
		for _, row := range rows {
			r := get(t, "http://server.test/")
			r.Method = row.method
			if row.change != nil {
				row.change(r)
			}
			var made bodies
			var sent atomic.Int64
			count := roundTripper(func(r *http.Request) (*http.Response, error) {
				sent.Add(1)
				return statuses(&made, 503).RoundTrip(r)
			})
			resp, err := transport(count, p).RoundTrip(r)
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode, "the one answer is the answer")
			require.Equal(t, "Service Unavailable", readAll(t, resp))
			require.EqualValues(t, row.want, sent.Load(), "%s %s with header %v", name, row.method, r.Header)
		}
	}
}

func TestTransport_rule43_configurable(t *testing.T) {
	var made bodies
	asked := 0
	tr := tholehttp.NewTransport(statuses(&made, 503, 200), retrying(2, nil), tholehttp.TransportConfig{
		Repeatable: func(r *http.Request) bool { asked++; return r.Method == "POST" || tholehttp.DefaultRepeatable(r) },
	})
	r, _ := request(t, http.MethodPost, "content", true)
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.Equal(t, 1, asked)
}

func TestTransport_rule42_fallbackCanSendTheBodyAgain(t *testing.T) {
	rows := map[string]struct {
		method string
		replay bool
		want   string
	}{
		"GetBody":              {http.MethodPut, true, "content"},
		"GetBody, sent once":   {http.MethodPost, true, "content"},
		"kept":                 {http.MethodPut, false, "content"},
		"cannot be read again": {http.MethodPost, false, ""},
	}
	for name, row := range rows {
		for policy, p := range map[string]thole.Policy{"failed": retrying(2, nil), "rejected": refusing()} {
			t.Run(name+"/"+policy, func(t *testing.T) {
				var made bodies
				r, body := request(t, row.method, "content", row.replay)
				got := "not called"
				backup := roundTripper(func(r *http.Request) (*http.Response, error) {
					got = consume(r)
					return reply(r, 200, http.NoBody), nil
				})
				tr := tholehttp.NewTransport(statuses(&made, 503), p, tholehttp.TransportConfig{
					Fallback: func(r *http.Request, _ error) (*http.Response, error) { return backup.RoundTrip(r) },
				})
				resp, err := tr.RoundTrip(r)
				require.NoError(t, err)
				require.Equal(t, 200, resp.StatusCode)
				require.Same(t, r, resp.Request)
				require.Equal(t, row.want, got)
				require.EqualValues(t, 1, body.closes.Load())
				made.requireClosed(t)
			})
		}
	}
}

func TestTransport_noBodyStaysNoBody(t *testing.T) {
	for _, body := range []io.ReadCloser{nil, http.NoBody} {
		r := get(t, "http://server.test/")
		r.Body = body
		n := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			n++
			require.Equal(t, body, r.Body)
			return reply(r, 503, http.NoBody), nil
		})
		resp, err := transport(base, retrying(3, nil)).RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, 3, n)
		require.Equal(t, http.NoBody, resp.Body)
	}
}

func TestTransport_keptBodyReadInPieces(t *testing.T) {
	content := bytes.Repeat([]byte("abcdefghij"), 5000)
	r, body := request(t, http.MethodPut, string(content), false)
	n := 0
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		n++
		got := make([]byte, 0, len(content))
		for buf := make([]byte, n*7); ; {
			m, err := r.Body.Read(buf)
			got = append(got, buf[:m]...)
			if n == 1 && len(got) > 100 { // the first attempt breaks off
				break
			}
			if err == io.EOF {
				assert.True(t, bytes.Equal(content, got))
				break
			}
			require.NoError(t, err)
		}
		r.Body.Close()
		return reply(r, 503, http.NoBody), nil
	})
	_, err := transport(base, retrying(3, nil)).RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 3, n)
	require.EqualValues(t, len(content), body.read.Load(), "the caller's body is read once")
}

func TestTransport_keepsABodyThatClaimsTheGreatestLength(t *testing.T) {
	tr := tholehttp.NewTransport(statuses(&bodies{}, 503, 200), retrying(2, nil), tholehttp.TransportConfig{MaxReplayBytes: math.MaxInt64})
	r, body := request(t, http.MethodPut, "content", false)
	r.ContentLength = math.MaxInt64
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 200, resp.StatusCode)
	require.EqualValues(t, 1, body.closes.Load())
}
