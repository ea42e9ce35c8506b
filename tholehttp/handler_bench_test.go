package tholehttp_test

import (
	"bufio"
	"context"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// stubWriter costs nothing, and has the methods of net/http's own for HTTP/1.
type stubWriter struct{ header http.Header }

func nativeWriter() http.ResponseWriter { return &stubWriter{http.Header{}} }

func (w *stubWriter) Header() http.Header                          { return w.header }
func (w *stubWriter) WriteHeader(int)                              {}
func (w *stubWriter) Write(p []byte) (int, error)                  { return len(p), nil }
func (w *stubWriter) WriteString(s string) (int, error)            { return len(s), nil }
func (w *stubWriter) ReadFrom(io.Reader) (int64, error)            { return 0, nil }
func (w *stubWriter) Flush()                                       {}
func (w *stubWriter) CloseNotify() <-chan bool                     { return nil }
func (w *stubWriter) Hijack() (net.Conn, *bufio.ReadWriter, error) { return nil, nil, nil }

func BenchmarkHandler(b *testing.B) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	pass := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
	for name, h := range map[string]http.Handler{
		"bare":     next,
		"guarded":  tholehttp.NewHandler(next, pass, tholehttp.HandlerConfig{}),
		"rejected": tholehttp.NewHandler(next, refuse(thole.ErrRejected), tholehttp.HandlerConfig{}),
	} {
		b.Run(name, func(b *testing.B) {
			w, r := nativeWriter(), httptest.NewRequest("GET", "/", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, r)
			}
		})
	}
}

func BenchmarkHandler_loopback(b *testing.B) {
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	pass := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
	for name, h := range map[string]http.Handler{"bare": next, "guarded": tholehttp.NewHandler(next, pass, tholehttp.HandlerConfig{})} {
		b.Run(name, func(b *testing.B) {
			s := httptest.NewServer(h)
			defer s.Close()
			for b.Loop() {
				resp, err := s.Client().Get(s.URL)
				if err != nil {
					b.Fatal(err)
				}
				io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
