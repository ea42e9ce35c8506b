package tholehttp_test

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// A handler that had set its headers, and timed out before it wrote, left them to the 503 in its
// place: a plain text that said it was gzip, which a client can't read, and which a cache might keep.
func TestHandler_rule47_timeoutAnswerHasNoHeadersOfTheAnswerThatNeverCame(t *testing.T) {
	limit := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		ctx, cancel := context.WithTimeout(ctx, time.Millisecond)
		defer cancel()
		return fn(ctx)
	})
	slow := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		for name, value := range map[string]string{"Content-Encoding": "gzip", "Content-Length": "1000", "Content-Range": "bytes 0-999/2000",
			"Etag": `"a"`, "Last-Modified": http.TimeFormat, "Expires": http.TimeFormat, "X-Trace": "kept"} {
			w.Header().Set(name, value)
		}
		if r.URL.Path == "/kept" {
			w.Header().Set("Cache-Control", "max-age=3600")
		}
		<-r.Context().Done()
	})
	answer := func(w http.ResponseWriter, _ *http.Request, err error) {
		w.WriteHeader(tholehttp.RejectionStatus(err))
		io.WriteString(w, "Service Unavailable\n")
	}
	for name, cfg := range map[string]tholehttp.HandlerConfig{"default": {}, "OnReject": {OnReject: answer}} {
		t.Run(name, func(t *testing.T) {
			guarded := tholehttp.NewHandler(slow, limit, cfg)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.URL.Path == "/outer" {
					w.Header().Set("Cache-Control", "no-store") // of somebody further out, who means every answer
				}
				guarded.ServeHTTP(w, r)
			}))
			defer srv.Close()
			for path, cached := range map[string]string{"/kept": "", "/outer": "no-store"} {
				resp, err := srv.Client().Get(srv.URL + path)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				resp.Body.Close()
				require.Equal(t, "Service Unavailable\n", string(body))
				require.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
				for _, name := range []string{"Content-Encoding", "Content-Range", "Etag", "Last-Modified", "Expires"} {
					require.Empty(t, resp.Header.Get(name), name)
				}
				require.Equal(t, cached, resp.Header.Get("Cache-Control"))
				require.Equal(t, "kept", resp.Header.Get("X-Trace"))
				require.Equal(t, "1", resp.Header.Get("Retry-After"))
			}
		})
	}
}
