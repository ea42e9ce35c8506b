package tholehttp_test

import (
	"bytes"
	"context"
	"errors"
	"io"
	"mime/multipart"
	"net/http"
	"net/http/httptest"
	"os"
	"runtime/debug"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/tholehttp"
)

func TestHandler_runsOnceUnderAPolicyThatRetries(t *testing.T) {
	rows := []struct {
		name   string
		next   http.HandlerFunc
		status int
		errs   int
	}{
		{"failure", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(500) }, 500, 3},
		{"success", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) }, 204, 0},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			runs := 0
			var errs []error
			p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) (err error) {
				for range 3 {
					if err = fn(ctx); err != nil {
						errs = append(errs, err)
					}
				}
				return err
			})
			w := httptest.NewRecorder()
			tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				runs++
				row.next(w, r)
			}), p, tholehttp.HandlerConfig{}).ServeHTTP(w, httptest.NewRequest("POST", "/", nil))
			assert.Equal(t, 1, runs)
			assert.Equal(t, row.status, w.Code)
			require.Len(t, errs, row.errs)
			for _, err := range errs {
				assert.Same(t, errs[0], err)
				assert.True(t, thole.IsPermanent(err))
			}
		})
	}
}

func TestHandler_waitsForARunThatThePolicyLeftBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var second atomic.Value
		p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			go fn(ctx)
			time.Sleep(time.Second)
			second.Store(fn(ctx)) // side by side, as a hedge would
			return &serverRejection{reason: thole.ReasonTimeout}
		})
		w := httptest.NewRecorder()
		start := time.Now()
		tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			time.Sleep(time.Minute)
			io.WriteString(w, "whole")
		}), p, tholehttp.HandlerConfig{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, time.Minute, time.Since(start))
		assert.Equal(t, "whole", w.Body.String())
		assert.True(t, thole.IsPermanent(second.Load().(error)))
	})
}

func TestHandler_aRunThatComesAfterTheAnswerDoesNotHappen(t *testing.T) {
	var late func(context.Context) error
	p := thole.PolicyFunc(func(_ context.Context, fn func(context.Context) error) error {
		late = fn
		return thole.ErrRejected
	})
	next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
	tholehttp.NewHandler(next, p, tholehttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
	assert.Error(t, late(t.Context()))
}

func TestHandler_rule02_nothingIsLeftBehind(t *testing.T) {
	// A bubble does not end while a goroutine in it is left.
	synctest.Test(t, func(t *testing.T) {
		p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			return serverTimeout(time.Minute).Do(ctx, func(ctx context.Context) error {
				return serverTimeout(time.Second).Do(ctx, fn)
			})
		})
		h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			child, cancel := context.WithCancel(r.Context())
			defer cancel()
			context.AfterFunc(r.Context(), func() {})
			<-child.Done()
		}), p, tholehttp.HandlerConfig{})
		for range 100 {
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		}
	})
}

func TestHandler_context(t *testing.T) {
	type key string
	spy := &serverSpy{}
	p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		ctx, cancel := context.WithTimeoutCause(ctx, time.Hour, errors.New("the policy's"))
		defer cancel()
		ctx, lifetime := thole.WithLifetime(thole.WithAttempt(ctx, thole.Attempt{Number: 3}))
		defer lifetime.End()
		return spy.Do(context.WithValue(ctx, key("policy"), "p"), fn)
	})
	h := tholehttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		ctx := r.Context()
		deadline, ok := ctx.Deadline()
		assert.True(t, ok)
		assert.InDelta(t, time.Hour, time.Until(deadline), float64(time.Minute))
		assert.Equal(t, "p", ctx.Value(key("policy")))
		assert.Equal(t, "r", ctx.Value(key("request")))
		// Calls that the handler makes are calls of their own.
		assert.True(t, thole.Repeatable(ctx))
		assert.Zero(t, thole.AttemptFrom(ctx))
		assert.Nil(t, thole.LifetimeFrom(ctx))
		assert.Empty(t, thole.TargetFrom(ctx))
	}), p, tholehttp.HandlerConfig{Target: func(r *http.Request) string { return "tenant " + r.Header.Get("Tenant") }})
	r := httptest.NewRequest("GET", "/", nil)
	r.Header.Set("Tenant", "a")
	ctx := context.WithValue(thole.WithTarget(t.Context(), "outer"), key("request"), "r")
	h.ServeHTTP(httptest.NewRecorder(), r.WithContext(ctx))
	assert.NoError(t, spy.last(t))
	assert.True(t, spy.once, "the policy may not repeat it")
	assert.Equal(t, "tenant a", spy.target)
}

func TestHandler_targetIsThePatternUnlessConfigured(t *testing.T) {
	spy := &serverSpy{}
	mux := http.NewServeMux()
	mux.Handle("GET /orders/{id}", tholehttp.NewHandler(http.NotFoundHandler(), spy, tholehttp.HandlerConfig{}))
	mux.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/orders/7", nil))
	assert.Equal(t, "GET /orders/{id}", spy.target)

	h := tholehttp.NewHandler(http.NotFoundHandler(), spy, tholehttp.HandlerConfig{})
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/orders/7", nil))
	assert.Empty(t, spy.target)
}

func TestHandler_patternOfAnInnerMuxIsVisibleOutside(t *testing.T) {
	mux := http.NewServeMux()
	mux.HandleFunc("/orders/{id}", func(http.ResponseWriter, *http.Request) {})
	type key struct{}
	ctx := context.WithValue(t.Context(), key{}, "kept")
	r := httptest.NewRequest("GET", "/orders/7", nil).WithContext(ctx)
	tholehttp.NewHandler(mux, &serverSpy{}, tholehttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, "/orders/{id}", r.Pattern)
	assert.Equal(t, "7", r.PathValue("id"))
	assert.Equal(t, ctx, r.Context(), "the request's own context stays")
}

func TestHandler_multipartFilesAreRemoved(t *testing.T) {
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		for _, end := range []string{"returns", "panics"} {
			if end == "panics" && strings.HasSuffix(t.Name(), "HTTP/1") {
				continue // net/http itself leaves them
			}
			t.Run(end, func(t *testing.T) {
				dir := t.TempDir()
				t.Setenv("TMPDIR", dir)
				files := func() int {
					entries, err := os.ReadDir(dir)
					require.NoError(t, err)
					return len(entries)
				}
				during := make(chan int, 1)
				s := start(tholehttp.NewHandler(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
					assert.NoError(t, r.ParseMultipartForm(1))
					during <- files()
					if end == "panics" {
						panic("boom")
					}
				}), &serverSpy{}, tholehttp.HandlerConfig{}))
				var body bytes.Buffer
				form := multipart.NewWriter(&body)
				part, err := form.CreateFormFile("file", "a.bin")
				require.NoError(t, err)
				part.Write(make([]byte, 11<<20)) // more than net/http keeps in memory at the least
				form.Close()
				resp, err := s.client.Post(s.URL, form.FormDataContentType(), &body)
				if err == nil {
					resp.Body.Close()
				}
				require.Equal(t, 1, <-during)
				require.Eventually(t, func() bool { return files() == 0 }, 5*time.Second, time.Millisecond)
			})
		}
	})
}

func TestHandler_formIsVisibleOutside(t *testing.T) {
	r := httptest.NewRequest("POST", "/?a=1", bytes.NewReader([]byte("b=2")))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	next := http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) { assert.NoError(t, r.ParseForm()) })
	tholehttp.NewHandler(next, &serverSpy{}, tholehttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), r)
	assert.Equal(t, "1", r.Form.Get("a"))
	assert.Equal(t, "2", r.PostForm.Get("b"))
}

func TestHandler_rule01_panicGoesOnAsItIsAndCountsAsAFailure(t *testing.T) {
	spy := &serverSpy{}
	type boom struct{ _ []int } // not comparable
	h := tholehttp.NewHandler(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { whereItPanics(boom{}) }), spy, tholehttp.HandlerConfig{})
	defer func() {
		assert.Equal(t, boom{}, recover())
		assert.Contains(t, string(debug.Stack()), "whereItPanics", "with the stack it came from")
		assert.Equal(t, thole.ErrAborted, spy.last(t))
	}()
	h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
}

func whereItPanics(v any) { panic(v) }

func TestHandler_rule48_abortStaysAnAbort(t *testing.T) {
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		for _, written := range []string{"", "some of it"} {
			t.Run("written "+written, func(t *testing.T) {
				spy, q := &serverSpy{}, newServerQueue(1)
				s := start(tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
					if written != "" {
						io.WriteString(w, written)
						w.(http.Flusher).Flush()
					}
					panic(http.ErrAbortHandler)
				}), thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					return q.Do(ctx, func(ctx context.Context) error { return spy.Do(ctx, fn) })
				}), tholehttp.HandlerConfig{}))
				resp, err := s.client.Get(s.URL)
				if err == nil {
					_, err = io.ReadAll(resp.Body)
					resp.Body.Close()
				}
				assert.Error(t, err, "the client sees the cut")
				told := spy.last(t)
				assert.Equal(t, thole.Ignored, thole.OutcomeOf(t.Context(), told))
				assert.ErrorIs(t, told, http.ErrAbortHandler)
				assert.Eventually(t, func() bool { return len(q.permits) == 0 }, 5*time.Second, time.Millisecond)
				assert.Empty(t, s.log, "net/http logs no abort")
			})
		}
	})
}

func TestHandler_tornResponseIsCutWhereAPolicyHidesThePanic(t *testing.T) {
	hide := func(result error) thole.Policy {
		return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) (err error) {
			defer func() {
				if recover() != nil {
					err = result
				}
			}()
			return fn(ctx)
		})
	}
	torn := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "to"); panic("rn") })
	silent := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { panic("boom") })
	for _, result := range []error{nil, errors.New("it panicked")} {
		assert.PanicsWithValue(t, http.ErrAbortHandler, func() {
			tholehttp.NewHandler(torn, hide(result), tholehttp.HandlerConfig{}).ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
		})
		w := httptest.NewRecorder()
		tholehttp.NewHandler(silent, hide(result), tholehttp.HandlerConfig{}).ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
		assert.Equal(t, 503, w.Code)
	}
}

func TestHandler_rule47_clientInTheSameProcessDoesNotHoldItsPermit(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") })
	h := tholehttp.NewHandler(next, b, tholehttp.HandlerConfig{})
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		rec := httptest.NewRecorder()
		h.ServeHTTP(rec, r)
		return rec.Result(), nil
	})
	for range 2 {
		resp, err := transport(base, thole.Chain()).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Zero(t, b.Stats().InUse, "the handler has returned; the response's body is nothing to it")
		defer resp.Body.Close()
	}
}
