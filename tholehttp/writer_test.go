package tholehttp_test

//lint:file-ignore SA1019 frameworks assert http.CloseNotifier still

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/http/httputil"
	"net/textproto"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// TestHandler_rule48_bareAndGuardedAnswerAlike runs each handler with and without a policy
// around it, and compares all that its client can see, and what net/http logs.
func TestHandler_rule48_bareAndGuardedAnswerAlike(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page.html")
	require.NoError(t, os.WriteFile(file, []byte("<html>"+strings.Repeat("x", 100_000)), 0o600))
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Trailer", "Sum")
		fmt.Fprint(w, "from behind ", r.URL.Path)
		w.(http.Flusher).Flush()
		w.Header().Set("Sum", "1")
	}))
	defer backend.Close()
	backendURL, err := url.Parse(backend.URL)
	require.NoError(t, err)

	type W = http.ResponseWriter
	type R = *http.Request
	rows := map[string]func(W, R){
		"nothing":      func(W, R) {},
		"write":        func(w W, _ R) { w.Write([]byte("<html>")) },
		"write string": func(w W, _ R) { io.WriteString(w, "plain") },
		"204":          func(w W, _ R) { w.WriteHeader(204) },
		"304":          func(w W, _ R) { w.Header().Set("Etag", `"a"`); w.WriteHeader(304) },
		"body on 204": func(w W, _ R) {
			w.WriteHeader(204)
			_, err := io.WriteString(w, "no")
			w.Header().Set("X", fmt.Sprint(err))
		},
		"length":    func(w W, _ R) { w.Header().Set("Content-Length", "3"); io.WriteString(w, "abc") },
		"too short": func(w W, _ R) { w.Header().Set("Content-Length", "9"); io.WriteString(w, "abc") },
		"flushed":   func(w W, _ R) { io.WriteString(w, "a"); w.(http.Flusher).Flush(); io.WriteString(w, "b") },
		"no date":   func(w W, _ R) { w.Header()["Date"] = nil; io.WriteString(w, "a") },
		"trailer":   func(w W, _ R) { w.Header().Set("Trailer", "T"); io.WriteString(w, "a"); w.Header().Set("T", "1") },
		"trailer prefix": func(w W, _ R) {
			io.WriteString(w, "a")
			w.(http.Flusher).Flush()
			w.Header().Set(http.TrailerPrefix+"T", "1")
		},
		"early hints": func(w W, _ R) {
			w.Header().Set("Link", "</a.css>")
			w.WriteHeader(103)
			w.WriteHeader(103)
			w.WriteHeader(404)
		},
		"processing, implicit": func(w W, _ R) { w.WriteHeader(102); io.WriteString(w, "a") },
		"redirect":             func(w W, r R) { http.Redirect(w, r, "/b", http.StatusFound) },
		"file":                 func(w W, r R) { http.ServeFile(w, r, file) },
		"range":                func(w W, r R) { r.Header.Set("Range", "bytes=2-5"); http.ServeFile(w, r, file) },
		"copied file": func(w W, _ R) {
			f, _ := os.Open(file)
			defer f.Close()
			io.Copy(w, f)
		},
		"empty copy, then status": func(w W, _ R) {
			io.Copy(w, struct{ io.Reader }{strings.NewReader("")})
			w.WriteHeader(http.StatusTeapot)
		},
		"proxy":     httputil.NewSingleHostReverseProxy(backendURL).ServeHTTP,
		"body read": func(w W, r R) { b, err := io.ReadAll(r.Body); fmt.Fprintf(w, "%s %v", b, err) },
		"body limited": func(w W, r R) {
			_, err := io.ReadAll(http.MaxBytesReader(struct{ http.ResponseWriter }{w}, r.Body, 2))
			fmt.Fprint(w, err)
		},
		"error":        func(w W, _ R) { http.Error(w, "sorry", 500) },
		"aborted":      func(w W, _ R) { panic(http.ErrAbortHandler) },
		"aborted late": func(w W, _ R) { io.WriteString(w, "a"); w.(http.Flusher).Flush(); panic(http.ErrAbortHandler) },
		"controller": func(w W, r R) {
			rc := http.NewResponseController(w)
			fmt.Fprintln(w, rc.SetReadDeadline(time.Now().Add(time.Minute)), rc.SetWriteDeadline(time.Now().Add(time.Minute)))
			fmt.Fprintln(w, rc.EnableFullDuplex(), rc.Flush())
			io.Copy(io.Discard, r.Body)
		},
		"full duplex": func(w W, r R) {
			http.NewResponseController(w).EnableFullDuplex()
			io.WriteString(w, "first")
			w.(http.Flusher).Flush()
			io.Copy(w, r.Body)
		},
		"write deadline over": func(w W, r R) {
			http.NewResponseController(w).SetWriteDeadline(time.Now().Add(-time.Second))
			io.WriteString(w, "never")
		},
		"methods": func(w W, _ R) {
			_, f := w.(http.Flusher)
			_, e := w.(interface{ FlushError() error })
			_, h := w.(http.Hijacker)
			_, p := w.(http.Pusher)
			_, c := w.(http.CloseNotifier)
			_, r := w.(io.ReaderFrom)
			_, s := w.(io.StringWriter)
			fmt.Fprint(w, f, e, h, p, c, r, s)
		},
		"not found": http.NotFound,
	}
	policies := map[string]thole.Policy{"a policy": &serverSpy{}, "a timeout": serverTimeout(time.Minute)}

	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		for name, row := range rows {
			t.Run(name, func(t *testing.T) {
				for _, method := range []string{"GET", "HEAD", "POST"} {
					want := whatClientSees(start(http.HandlerFunc(row)), method)
					for name, p := range policies {
						got := whatClientSees(start(tholehttp.NewHandler(http.HandlerFunc(row), p, tholehttp.HandlerConfig{})), method)
						assert.Equal(t, want, got, "%s under %s", method, name)
					}
				}
			})
		}
	})
}

// sight is all that a client sees of an answer.
type sight struct {
	Hints            []string
	Status           int
	Header, Trailer  http.Header
	Length           int64
	TransferEncoding []string
	Close            bool
	Body             string
	Failed           bool
	ServerLog        string
}

func whatClientSees(s *served, method string) (saw sight) {
	defer func() {
		s.Close()
		saw.ServerLog = s.log.String()
	}()
	var body io.Reader
	if method == "POST" {
		body = strings.NewReader("a=b&c=d")
	}
	req, _ := http.NewRequest(method, s.URL+"/a", body)
	req = req.WithContext(httptrace.WithClientTrace(req.Context(), &httptrace.ClientTrace{
		Got1xxResponse: func(code int, h textproto.MIMEHeader) error {
			saw.Hints = append(saw.Hints, fmt.Sprint(code, h))
			return nil
		},
	}))
	resp, err := s.client.Do(req)
	if err != nil {
		saw.Failed = true
		return saw
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if _, dated := resp.Header["Date"]; dated {
		resp.Header["Date"] = []string{"some"}
	}
	saw.Status, saw.Header, saw.Trailer, saw.Length = resp.StatusCode, resp.Header, resp.Trailer, resp.ContentLength
	saw.TransferEncoding, saw.Close, saw.Body, saw.Failed = resp.TransferEncoding, resp.Close, string(b), err != nil
	return saw
}

func TestHandler_rule48_eventsStreamWhileTheHandlerRuns(t *testing.T) {
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		for _, how := range []string{"Flusher", "ResponseController"} {
			t.Run(how, func(t *testing.T) {
				next := make(chan struct{})
				s := start(tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					w.Header().Set("Content-Type", "text/event-stream")
					for i := range 3 {
						fmt.Fprintf(w, "data: %d\n\n", i)
						if how == "Flusher" {
							w.(http.Flusher).Flush()
						} else if !assert.NoError(t, http.NewResponseController(w).Flush()) {
							return
						}
						<-next
					}
				}), serverTimeout(time.Minute), tholehttp.HandlerConfig{}))
				resp, err := s.client.Get(s.URL)
				require.NoError(t, err)
				defer resp.Body.Close()
				lines := bufio.NewReader(resp.Body)
				for i := range 3 {
					line, err := lines.ReadString('\n')
					require.NoError(t, err)
					assert.Equal(t, fmt.Sprintf("data: %d\n", i), line, "before the handler goes on")
					lines.ReadString('\n')
					next <- struct{}{}
				}
				_, err = lines.ReadByte()
				assert.Equal(t, io.EOF, err)
			})
		}
	})
}

func TestHandler_rule48_hijackedConnectionIsTheHandlers(t *testing.T) {
	ends := map[string]func(){
		"returns": func() {},
		"aborts":  func() { panic(http.ErrAbortHandler) },
	}
	hows := map[string]func(http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error){
		"Hijacker": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) { return w.(http.Hijacker).Hijack() },
		"ResponseController": func(w http.ResponseWriter) (net.Conn, *bufio.ReadWriter, error) {
			return http.NewResponseController(w).Hijack()
		},
	}
	for how, hijack := range hows {
		for name, end := range ends {
			t.Run(how+" "+name, func(t *testing.T) {
				spy := &serverSpy{}
				p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					err := spy.Do(ctx, fn)
					return errors.Join(err, thole.Rejection(thole.ReasonTimeout, "too late"))
				})
				s := serve(t, tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					conn, buf, err := hijack(w)
					if !assert.NoError(t, err) {
						return
					}
					defer conn.Close()
					buf.WriteString("HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\n")
					buf.Flush()
					line, _ := buf.ReadString('\n')
					buf.WriteString(line)
					buf.Flush()
					end()
				}), p, tholehttp.HandlerConfig{}), false)
				conn, err := net.Dial("tcp", s.Listener.Addr().String())
				require.NoError(t, err)
				defer conn.Close()
				fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: echo\r\n\r\nhello\n")
				r := bufio.NewReader(conn)
				resp, err := http.ReadResponse(r, nil)
				require.NoError(t, err)
				assert.Equal(t, 101, resp.StatusCode)
				rest, _ := io.ReadAll(r)
				assert.Equal(t, "hello\n", string(rest), "and nothing after it")
				if name == "returns" {
					assert.NoError(t, spy.last(t), "an upgrade is a success")
				}
				assert.Empty(t, s.log)
			})
		}
	}
}

func TestHandler_rule48_upgradeThroughAProxy(t *testing.T) {
	backend := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Connection", "Upgrade")
		w.Header().Set("Upgrade", "echo")
		w.WriteHeader(101)
		conn, buf, err := w.(http.Hijacker).Hijack()
		if err != nil {
			return
		}
		defer conn.Close()
		line, _ := buf.ReadString('\n')
		buf.WriteString(line)
		buf.Flush()
	}))
	defer backend.Close()
	u, _ := url.Parse(backend.URL)
	s := serve(t, tholehttp.NewHandler(httputil.NewSingleHostReverseProxy(u), &serverSpy{}, tholehttp.HandlerConfig{}), false)
	req, _ := http.NewRequest("GET", s.URL, nil)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "echo")
	resp, err := s.client.Do(req)
	require.NoError(t, err)
	defer resp.Body.Close()
	require.Equal(t, 101, resp.StatusCode)
	conn := resp.Body.(io.ReadWriter)
	fmt.Fprintln(conn, "hello")
	line, _ := bufio.NewReader(conn).ReadString('\n')
	assert.Equal(t, "hello\n", line)
}

// hidden is another middleware's wrapper, which leads to the optional methods by Unwrap
// alone.
type hidden struct{ base http.ResponseWriter }

func (h hidden) Header() http.Header         { return h.base.Header() }
func (h hidden) WriteHeader(status int)      { h.base.WriteHeader(status) }
func (h hidden) Write(p []byte) (int, error) { return h.base.Write(p) }
func (h hidden) Unwrap() http.ResponseWriter { return h.base }

func TestHandler_rule48_controllerIsSeenBehindAnotherWrapper(t *testing.T) {
	late := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		fn(ctx)
		return thole.Rejection(thole.ReasonTimeout, "too late")
	})
	guard := func(next http.HandlerFunc) http.Handler {
		h := tholehttp.NewHandler(next, late, tholehttp.HandlerConfig{})
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { h.ServeHTTP(hidden{w}, r) })
	}
	t.Run("flush", func(t *testing.T) {
		s := serve(t, guard(func(w http.ResponseWriter, _ *http.Request) {
			_, ok := w.(http.Flusher)
			assert.False(t, ok)
			assert.NoError(t, http.NewResponseController(w).Flush())
			assert.NoError(t, http.NewResponseController(w).SetWriteDeadline(time.Now().Add(time.Minute)))
		}), false)
		resp, body := s.get(t, "/")
		assert.Equal(t, 200, resp.StatusCode)
		assert.Empty(t, body)
		assert.Empty(t, s.log)
	})
	t.Run("hijack", func(t *testing.T) {
		s := serve(t, guard(func(w http.ResponseWriter, _ *http.Request) {
			conn, _, err := http.NewResponseController(w).Hijack()
			if assert.NoError(t, err) {
				io.WriteString(conn, "HTTP/1.1 204 No Content\r\n\r\n")
				conn.Close()
			}
		}), false)
		resp, _ := s.get(t, "/")
		assert.Equal(t, 204, resp.StatusCode)
		assert.Empty(t, s.log)
	})
	t.Run("neither", func(t *testing.T) {
		w := httptest.NewRecorder()
		h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			rc := http.NewResponseController(w)
			assert.ErrorIs(t, rc.Flush(), http.ErrNotSupported)
			_, _, err := rc.Hijack()
			assert.ErrorIs(t, err, http.ErrNotSupported)
		}), late, tholehttp.HandlerConfig{})
		h.ServeHTTP(hidden{struct{ http.ResponseWriter }{w}}, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, 503, w.Code, "nothing had been written")
	})
}

func TestHandler_rule48_push(t *testing.T) {
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		s := start(tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			p, ok := w.(http.Pusher)
			assert.Equal(t, r.ProtoMajor == 2, ok)
			if ok {
				assert.ErrorIs(t, p.Push("/a.css", nil), http.ErrNotSupported, "this client takes none")
			}
		}), &serverSpy{}, tholehttp.HandlerConfig{}))
		resp, _ := s.get(t, "/")
		assert.Equal(t, 200, resp.StatusCode)
	})
}

func TestHandler_rule48_invalidStatusIsNotWritten(t *testing.T) {
	w := httptest.NewRecorder()
	h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		assert.Panics(t, func() { w.WriteHeader(0) })
	}), thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		fn(ctx)
		return thole.ErrRejected
	}), tholehttp.HandlerConfig{})
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Equal(t, 503, w.Code)
}

func TestHandler_rule48_switchingProtocolsIsFinal(t *testing.T) {
	// A recorder takes 101 for final too, and then ignores what else is said.
	w := httptest.NewRecorder()
	h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.WriteHeader(http.StatusSwitchingProtocols)
	}), thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		fn(ctx)
		return thole.ErrRejected
	}), tholehttp.HandlerConfig{})
	h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	assert.Empty(t, w.Body.String())
	assert.Empty(t, w.Header())
}

func TestHandler_rule48_emptyCopyDecidesNothing(t *testing.T) {
	spy := &serverSpy{}
	s := serve(t, tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.(io.ReaderFrom).ReadFrom(strings.NewReader(""))
		w.WriteHeader(500)
	}), spy, tholehttp.HandlerConfig{}), false)
	resp, _ := s.get(t, "/")
	assert.Equal(t, 500, resp.StatusCode)
	assert.Error(t, spy.last(t))
}

// errorFlusher is a base that can flush, but tells it to http.ResponseController alone.
type errorFlusher struct{ http.ResponseWriter }

func (f errorFlusher) FlushError() error {
	return http.NewResponseController(f.ResponseWriter).Flush()
}

func TestHandler_rule47_notesAFlushThatOnlyReportsErrors(t *testing.T) {
	late := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		_ = fn(ctx)
		return context.DeadlineExceeded // however it ended
	})
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		require.NoError(t, http.NewResponseController(w).Flush())
	})
	rec := httptest.NewRecorder()
	tholehttp.NewHandler(next, late, tholehttp.HandlerConfig{}).ServeHTTP(errorFlusher{rec}, httptest.NewRequest("GET", "/", nil))
	require.Equal(t, 200, rec.Code)
	require.Empty(t, rec.Body.String(), "the answer is on its way")
}
