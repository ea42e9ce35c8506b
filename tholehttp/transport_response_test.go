package tholehttp_test

import (
	"bufio"
	"bytes"
	"compress/gzip"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptrace"
	"net/textproto"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

func TestTransport_rule40_thousandCallsReuseOneConnectionAndLeakNothing(t *testing.T) {
	for name, p := range map[string]thole.Policy{"retry": retrying(3, nil), "retry that knows no lifetimes": stubborn(3)} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) { // which fails on a goroutine left over
				var served atomic.Int64
				base, net := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					if served.Add(1)%2 == 1 {
						w.WriteHeader(http.StatusServiceUnavailable)
						_, _ = io.WriteString(w, strings.Repeat("busy", 500))
						return
					}
					_, _ = io.WriteString(w, "fine")
				})
				base.MaxConnsPerHost = 1 // a response not discarded in time blocks the next attempt
				client := &http.Client{Transport: transport(base, p)}
				for range 1000 {
					resp, err := client.Get("http://server.test/")
					require.NoError(t, err)
					require.Equal(t, 200, resp.StatusCode)
					require.Equal(t, "fine", readAll(t, resp))
				}
				assert.EqualValues(t, 2000, served.Load())
				assert.EqualValues(t, 1, net.dials.Load(), "connections made")
			})
		})
	}
}

func TestTransport_rule40_discardedBeforeThePause(t *testing.T) {
	var made bodies
	paused := false
	tr := transport(statuses(&made, 503, 200), retrying(2, func(err error) {
		paused = true
		assert.EqualValues(t, 1, made.all[0].closes.Load(), "closed when the pause begins")
		assert.EqualValues(t, len("Service Unavailable"), made.all[0].read.Load(), "drained")
	}))
	resp, err := tr.RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	assert.True(t, paused)
	assert.Equal(t, "OK", readAll(t, resp))
	assert.EqualValues(t, 1, made.all[0].closes.Load())
}

// stuck is a body that never yields anything until it is closed.
type stuck struct {
	closed chan struct{}
	once   sync.Once
}

func (s *stuck) Read([]byte) (int, error) { <-s.closed; return 0, errors.New("closed") }
func (s *stuck) Close() error             { s.once.Do(func() { close(s.closed) }); return nil }

func TestTransport_rule40_drainingIsBounded(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			n := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					return reply(r, 503, &stuck{closed: make(chan struct{})}), nil
				}
				return reply(r, 200, http.NoBody), nil
			})
			start := time.Now()
			resp, err := transport(base, retrying(2, nil)).RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			assert.Equal(t, 200, resp.StatusCode)
			assert.Equal(t, 50*time.Millisecond, time.Since(start))
		})
	})
	for _, length := range []int64{-1, 1 << 20} {
		t.Run(fmt.Sprintf("in size, ContentLength %d", length), func(t *testing.T) {
			big := &tracked{Reader: bytes.NewReader(make([]byte, 1<<20))}
			n := 0
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				if n++; n == 1 {
					resp := reply(r, 503, big)
					resp.ContentLength = length
					return resp, nil
				}
				return reply(r, 200, http.NoBody), nil
			})
			_, err := transport(base, retrying(2, nil)).RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			assert.LessOrEqual(t, big.read.Load(), int64(16<<10))
			assert.EqualValues(t, 1, big.closes.Load())
		})
	}
}

func TestTransport_rule40_everyPathClosesWhatItDoesNotReturn(t *testing.T) {
	boom := errors.New("boom")
	rows := map[string]struct {
		policy thole.Policy
		codes  []int
	}{
		"policy turns a success into an error": {thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			_ = fn(ctx)
			return boom
		}), []int{200}},
		"policy swallows the failing response's error": {thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			_ = fn(ctx)
			return boom
		}), []int{503}},
		"policy panics after a success": {thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			_ = fn(ctx)
			panic(boom)
		}), []int{200}},
		"policy panics after a failure": {thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			_ = fn(ctx)
			panic(boom)
		}), []int{503}},
		"every attempt of a race succeeds": {racing(5), []int{200}},
		"every attempt of a race fails":    {racing(5), []int{503}},
		"some attempts of a race fail":     {racing(5), []int{503, 503, 200}},
		"all attempts fail":                {retrying(3, nil), []int{503}},
		"all attempts fail, stubborn":      {stubborn(3), []int{503}},
		"policy says nil after a failure": {thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			_ = fn(ctx)
			return nil
		}), []int{503}},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made bodies
				func() {
					defer func() { _ = recover() }()
					resp, err := transport(statuses(&made, row.codes...), row.policy).RoundTrip(get(t, "http://server.test/"))
					require.True(t, (resp == nil) != (err == nil), "exactly one of response and error")
					if err == nil {
						assert.Equal(t, http.StatusText(resp.StatusCode), readAll(t, resp))
					}
				}()
				synctest.Wait()
				made.requireClosed(t)
			})
		})
	}
}

// eachProtocol runs test over HTTP/1 and HTTP/2.
func eachProtocol(t *testing.T, test func(t *testing.T, h2 bool)) {
	for _, h2 := range []bool{false, true} {
		t.Run(fmt.Sprintf("HTTP/%d", map[bool]int{false: 1, true: 2}[h2]), func(t *testing.T) { test(t, h2) })
	}
}

func TestTransport_rule41_finalResponseIsAResponseReadableToItsEnd(t *testing.T) {
	content := make([]byte, 1<<20)
	_, _ = rand.Read(content)
	scope := &scoped{}
	policies := map[string]thole.Policy{
		"retry":                  retrying(3, nil),
		"own context":            scope,
		"retry of own contexts":  thole.Chain(retrying(3, nil), scope),
		"own context of retries": thole.Chain(scope, retrying(3, nil)),
		"race":                   racing(3),
		"race of own contexts":   thole.Chain(racing(3), scope),
		"retry of races":         thole.Chain(scope, retrying(3, nil), racing(2), scope),
		"stubborn":               thole.Chain(stubborn(3), scope),
	}
	eachProtocol(t, func(t *testing.T, h2 bool) {
		s, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/503" {
				w.WriteHeader(503)
				_, _ = w.Write(content[:10<<10]) // short enough to be kept from a race
				return
			}
			_, _ = w.Write(content)
		})
		for name, p := range policies {
			for path, want := range map[string][]byte{"/200": content, "/503": content[:10<<10]} {
				t.Run(name+path, func(t *testing.T) {
					resp, err := transport(base, p).RoundTrip(get(t, s.URL+path))
					require.NoError(t, err)
					require.Equal(t, path, fmt.Sprintf("/%d", resp.StatusCode))
					got, err := io.ReadAll(resp.Body)
					require.NoError(t, err)
					require.True(t, bytes.Equal(want, got))
					require.NoError(t, resp.Body.Close())
				})
			}
		}
	})
	assert.Eventually(t, func() bool { return scope.made.Load() == scope.ended.Load() }, 5*time.Second, time.Millisecond,
		"every context that was made ends, exactly once")
}

func TestTransport_rule41_contextsLiveUntilTheBodyIsFinishedWith(t *testing.T) {
	finish := map[string]func(t *testing.T, body io.ReadCloser){
		"EOF": func(t *testing.T, body io.ReadCloser) {
			_, err := io.ReadAll(body)
			require.NoError(t, err)
		},
		"Close": func(t *testing.T, body io.ReadCloser) { require.NoError(t, body.Close()) },
		"both": func(t *testing.T, body io.ReadCloser) {
			_, err := io.ReadAll(body)
			require.NoError(t, err)
			require.NoError(t, body.Close())
			require.NoError(t, body.Close())
		},
		"error": func(t *testing.T, body io.ReadCloser) {
			_, err := body.Read(nil)
			require.NoError(t, err)
			_, err = io.Copy(io.Discard, io.MultiReader(io.LimitReader(body, 2), body))
			require.NoError(t, err)
		},
	}
	for name, end := range finish {
		for _, status := range []int{200, 503} {
			t.Run(fmt.Sprintf("%s of a %d", name, status), func(t *testing.T) {
				var made bodies
				var attempt context.Context
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					attempt = r.Context()
					return reply(r, status, made.new("content")), nil
				})
				scope := &scoped{}
				resp, err := transport(base, scope).RoundTrip(get(t, "http://server.test/"))
				require.NoError(t, err)
				require.NoError(t, attempt.Err(), "alive while the body is unread")
				require.Zero(t, scope.ended.Load())
				end(t, resp.Body)
				require.ErrorIs(t, attempt.Err(), context.Canceled)
				require.EqualValues(t, 1, scope.ended.Load())
				require.LessOrEqual(t, made.all[0].closes.Load(), int64(2))
			})
		}
	}
	t.Run("no body", func(t *testing.T) {
		for _, body := range []io.ReadCloser{nil, http.NoBody} {
			scope := &scoped{}
			base := roundTripper(func(r *http.Request) (*http.Response, error) { return reply(r, 200, body), nil })
			resp, err := transport(base, scope).RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, body, resp.Body, "stays what it was")
			require.EqualValues(t, 1, scope.ended.Load())
		}
	})
}

func TestTransport_rule41_bodyIsLeftAloneWhereNothingWaitsForIt(t *testing.T) {
	var made bodies
	resp, err := transport(statuses(&made, 503, 200), retrying(2, nil)).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Same(t, made.all[1], resp.Body)
}

func TestTransport_rule41_responseOfACancelledCallIsNotReturned(t *testing.T) {
	// A retry that ends in its pause, because the caller cancelled, has given the response
	// up: what it returns is the caller's error, not a response without its body.
	var made bodies
	ctx, cancel := context.WithCancel(t.Context())
	p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		err := fn(ctx)
		cancel()
		return errors.Join(err, ctx.Err())
	})
	_, err := transport(statuses(&made, 503), p).RoundTrip(get(t, "http://server.test/").WithContext(ctx))
	require.ErrorIs(t, err, context.Canceled)
	var se *tholehttp.StatusError
	require.ErrorAs(t, err, &se)
	made.requireClosed(t)
}

func TestTransport_failedResponseInARaceFreesItsConnection(t *testing.T) {
	eachWay := map[string]int{"fits": 1 << 10, "too long to keep": 1 << 20}
	for name, size := range eachWay {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				content := strings.Repeat("x", size)
				var served atomic.Int64
				base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
					served.Add(1)
					w.WriteHeader(503)
					_, _ = io.WriteString(w, content)
				})
				base.MaxConnsPerHost = 1
				resp, err := transport(base, racing(3)).RoundTrip(get(t, "http://server.test/"))
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode)
				got, err := io.ReadAll(resp.Body)
				if err != nil {
					require.Greater(t, size, 64<<10, "what was cut short says so: %v", err)
				} else {
					require.Equal(t, content, string(got))
				}
				require.NoError(t, resp.Body.Close())
				require.EqualValues(t, 3, served.Load())
			})
		})
	}
}

func TestTransport_rule45_upgradeKeepsAWritableBody(t *testing.T) {
	s, base := listen(t, false, func(w http.ResponseWriter, r *http.Request) {
		conn, rw, err := http.NewResponseController(w).Hijack()
		if err != nil {
			t.Error(err)
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, "HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
		line, _ := rw.ReadString('\n')
		_, _ = io.WriteString(conn, "echo "+line)
		if tcp, ok := conn.(*net.TCPConn); ok {
			_ = tcp.CloseWrite()
		}
		_, _ = io.Copy(io.Discard, rw) // until the client half-closes
	})
	scope := &scoped{}
	tr := transport(base, thole.Chain(retrying(3, nil), racing(3), scope))
	r := get(t, s.URL)
	r.Header.Set("Connection", "Upgrade")
	r.Header.Set("Upgrade", "echo")
	resp, err := tr.RoundTrip(r)
	require.NoError(t, err)
	require.Equal(t, 101, resp.StatusCode)
	body, ok := resp.Body.(io.ReadWriteCloser)
	require.True(t, ok, "%T", resp.Body)
	_, err = io.WriteString(body, "hello\n")
	require.NoError(t, err)
	line, err := bufio.NewReader(body).ReadString('\n')
	require.NoError(t, err)
	require.Equal(t, "echo hello\n", line)
	_, err = body.Read(make([]byte, 1))
	require.ErrorIs(t, err, io.EOF)
	require.Zero(t, scope.ended.Load(), "the end of one direction is not the end")
	_, bare := any(&net.TCPConn{}).(interface{ CloseWrite() error })
	require.True(t, bare)
	require.NoError(t, body.Close())
	require.EqualValues(t, 1, scope.ended.Load())
}

// twoWay is a body with everything that a body can have.
type twoWay struct {
	*tracked
	wrote      bytes.Buffer
	halfClosed bool
}

func (b *twoWay) Write(p []byte) (int, error) { return b.wrote.Write(p) }
func (b *twoWay) CloseWrite() error           { b.halfClosed = true; return nil }

type selfWriting struct {
	*tracked
	used bool
}

func (b *selfWriting) WriteTo(w io.Writer) (int64, error) {
	b.used = true
	return io.Copy(w, b.tracked)
}

func TestTransport_rule45_bodyKeepsWhatItCanDo(t *testing.T) {
	send := func(t *testing.T, body io.ReadCloser) (*http.Response, *scoped) {
		scope := &scoped{}
		base := roundTripper(func(r *http.Request) (*http.Response, error) { return reply(r, 200, body), nil })
		resp, err := transport(base, scope).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		return resp, scope
	}
	t.Run("CloseWrite", func(t *testing.T) {
		inner := &twoWay{tracked: newTracked("x")}
		resp, _ := send(t, inner)
		_, err := resp.Body.(io.Writer).Write([]byte("out"))
		require.NoError(t, err)
		require.NoError(t, resp.Body.(interface{ CloseWrite() error }).CloseWrite())
		require.Equal(t, "out", inner.wrote.String())
		require.True(t, inner.halfClosed)
	})
	t.Run("WriteTo", func(t *testing.T) {
		inner := &selfWriting{tracked: newTracked("content")}
		resp, scope := send(t, inner)
		var got bytes.Buffer
		_, err := resp.Body.(io.WriterTo).WriteTo(&got)
		require.NoError(t, err)
		require.Equal(t, "content", got.String())
		require.True(t, inner.used)
		require.EqualValues(t, 1, scope.ended.Load())
	})
	t.Run("no more than that", func(t *testing.T) {
		resp, _ := send(t, newTracked("x"))
		_, writes := resp.Body.(io.Writer)
		_, writesTo := resp.Body.(io.WriterTo)
		require.False(t, writes || writesTo)
	})
}

func TestTransport_rule45_trailersAndTheRestPassThrough(t *testing.T) {
	eachProtocol(t, func(t *testing.T, h2 bool) {
		s, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			switch r.URL.Path {
			case "/trailer":
				b, _ := io.ReadAll(r.Body)
				w.Header().Set("Trailer", "X-Sum")
				w.Header().Set("X-Got", r.Trailer.Get("X-Sent"))
				_, _ = w.Write(b)
				w.Header().Set("X-Sum", "sum")
			case "/gzip":
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				_, _ = io.WriteString(z, "plain")
				_ = z.Close()
			case "/hints":
				w.Header().Set("Link", "</style.css>")
				w.WriteHeader(http.StatusEarlyHints)
				_, _ = io.WriteString(w, "content")
			}
		})
		scope := &scoped{}
		tr := transport(base, thole.Chain(retrying(3, nil), racing(2), scope))

		t.Run("trailers", func(t *testing.T) {
			r, err := http.NewRequest(http.MethodPut, s.URL+"/trailer", nil)
			require.NoError(t, err)
			r.Trailer = http.Header{"X-Sent": nil}
			sent := false
			r.Body = io.NopCloser(io.MultiReader(strings.NewReader("body"), readerFunc(func([]byte) (int, error) {
				sent = true
				r.Trailer.Set("X-Sent", "filled in while the body is read")
				return 0, io.EOF
			})))
			resp, err := tr.RoundTrip(r)
			require.NoError(t, err)
			require.Equal(t, "body", readAll(t, resp))
			require.True(t, sent)
			require.Equal(t, "filled in while the body is read", resp.Header.Get("X-Got"))
			require.Equal(t, "sum", resp.Trailer.Get("X-Sum"))
		})
		t.Run("decompression", func(t *testing.T) {
			resp, err := tr.RoundTrip(get(t, s.URL+"/gzip"))
			require.NoError(t, err)
			require.True(t, resp.Uncompressed)
			require.EqualValues(t, -1, resp.ContentLength)
			require.Equal(t, "plain", readAll(t, resp))
		})
		t.Run("early hints and traces", func(t *testing.T) {
			var hinted, conns atomic.Int64
			once := transport(base, thole.Chain(retrying(3, nil), scope))
			r := get(t, s.URL+"/hints")
			r = r.WithContext(httptrace.WithClientTrace(r.Context(), &httptrace.ClientTrace{
				Got1xxResponse: func(int, textproto.MIMEHeader) error { hinted.Add(1); return nil },
				GotConn:        func(httptrace.GotConnInfo) { conns.Add(1) },
			}))
			resp, err := once.RoundTrip(r)
			require.NoError(t, err)
			require.EqualValues(t, 7, resp.ContentLength)
			require.Equal(t, "content", readAll(t, resp))
			require.EqualValues(t, 1, hinted.Load())
			require.EqualValues(t, 1, conns.Load())
		})
	})
}

type readerFunc func([]byte) (int, error)

func (f readerFunc) Read(p []byte) (int, error) { return f(p) }

func TestTransport_rule45_idleConnectionsAreClosedOnRequestOnly(t *testing.T) {
	closed := 0
	var made bodies
	base := &idler{RoundTripper: statuses(&made, 503), closed: &closed}
	tr := transport(base, retrying(3, nil))
	client := &http.Client{Transport: tr}
	resp, err := client.Get("http://server.test/")
	require.NoError(t, err)
	readAll(t, resp)
	require.Zero(t, closed, "a failure is no reason to empty a pool that others share")
	client.CloseIdleConnections()
	require.Equal(t, 1, closed)
	require.Same(t, base, tr.Unwrap())
	require.Same(t, base, tr.WrappedRoundTripper())
	transport(roundTripper(nil), nil).CloseIdleConnections() // a base that has none
}

type idler struct {
	http.RoundTripper
	closed *int
}

func (i *idler) CloseIdleConnections() { *i.closed++ }
