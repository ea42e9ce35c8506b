package tholehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

func TestHandler_rule47_rejectionsAreAnsweredByTheirReason(t *testing.T) {
	rejected := func(reason thole.Reason, after time.Duration) error { return &serverRejection{reason, after} }
	rows := []struct {
		name   string
		err    error
		status int
		after  string
	}{
		{"limited", rejected(thole.ReasonLimited, 1200*time.Millisecond), 429, "2"},
		{"burst", rejected(thole.ReasonBurst, 0), 429, "1"},
		{"wrapped limited", fmt.Errorf("outer: %w", rejected(thole.ReasonLimited, time.Minute)), 429, "60"},
		{"marked limited", thole.Permanent(rejected(thole.ReasonLimited, time.Nanosecond)), 429, "1"},
		{"open", rejected(thole.ReasonOpen, 5*time.Second), 503, "5"},
		{"isolated", rejected(thole.ReasonIsolated, 5*time.Second+1), 503, "6"},
		{"full", thole.Rejection(thole.ReasonFull, "full"), 503, "1"},
		{"wait", thole.Rejection(thole.ReasonWait, "wait"), 503, "1"},
		{"timeout", thole.Rejection(thole.ReasonTimeout, "timeout"), 503, "1"},
		{"budget", thole.Rejection(thole.ReasonBudget, "budget"), 503, "1"},
		{"shed", rejected(thole.ReasonShed, -time.Second), 503, "1"},
		{"expired", thole.Rejection(thole.ReasonExpired, "expired"), 503, "1"},
		{"chaos", thole.Rejection(thole.ReasonChaos, "chaos"), 503, "1"},
		{"no reason", thole.ErrRejected, 503, "1"},
		{"another library's", errors.New("bulkhead full"), 503, "1"},
		{"deadline", context.DeadlineExceeded, 503, "1"},
		{"nil without a run", nil, 503, "1"},
	}
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		var err error // set between the requests
		p := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return err })
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("the handler ran") })
		s := start(tholehttp.NewHandler(next, p, tholehttp.HandlerConfig{}))
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				err = row.err
				resp, body := s.get(t, "/")
				assert.Equal(t, row.status, resp.StatusCode)
				assert.Equal(t, []string{row.after}, resp.Header["Retry-After"])
				assert.Equal(t, http.StatusText(row.status)+"\n", body)
				assert.Equal(t, row.status, tholehttp.RejectionStatus(row.err))
			})
		}
		assert.Empty(t, s.log)
	})
}

func TestHandler_rule47_nothingIsWrittenAfterTheHandlerWrote(t *testing.T) {
	rows := []struct {
		name   string
		next   http.HandlerFunc
		status int
		body   string
	}{
		{"body", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "all of it") }, 200, "all of it"},
		{"no bytes", func(w http.ResponseWriter, _ *http.Request) { w.Write(nil) }, 200, ""},
		{"status", func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(404) }, 404, ""},
		{"failure", func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "own", 500) }, 500, "own\n"},
		{"flush", func(w http.ResponseWriter, _ *http.Request) { w.(http.Flusher).Flush() }, 200, ""},
		{"controller's flush", func(w http.ResponseWriter, _ *http.Request) { http.NewResponseController(w).Flush() }, 200, ""},
		{"copied", func(w http.ResponseWriter, _ *http.Request) {
			io.Copy(w, io.LimitReader(strings.NewReader("copied"), 6))
		}, 200, "copied"},
	}
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		for _, row := range rows {
			t.Run(row.name, func(t *testing.T) {
				// A policy that runs the handler and then says that it was too slow.
				late := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					fn(ctx)
					return &serverRejection{reason: thole.ReasonTimeout}
				})
				s := start(tholehttp.NewHandler(row.next, late, tholehttp.HandlerConfig{
					OnReject: func(http.ResponseWriter, *http.Request, error) { t.Error("OnReject called") },
				}))
				resp, body := s.get(t, "/")
				assert.Equal(t, row.status, resp.StatusCode)
				assert.Equal(t, row.body, body)
				assert.Empty(t, resp.Header["Retry-After"])
				assert.Empty(t, s.log, "net/http has nothing to complain of")
			})
		}
	})
}

func TestHandler_rule47_policySeesTheStatus(t *testing.T) {
	status := func(codes ...int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			for _, code := range codes {
				w.WriteHeader(code)
			}
		}
	}
	rows := []struct {
		name    string
		next    http.HandlerFunc
		outcome func(int) thole.Outcome
		want    thole.Outcome
		code    int // of the StatusError; 0: none
	}{
		{"implicit 200", status(), nil, thole.Success, 0},
		{"200", status(200), nil, thole.Success, 0},
		{"404", status(404), nil, thole.Success, 0},
		{"429", status(429), nil, thole.Ignored, 429},
		{"500", status(500), nil, thole.Failure, 500},
		{"501", status(501), nil, thole.Success, 0},
		{"503", status(503), nil, thole.Failure, 503},
		{"early hints, then 500", status(103, 500), nil, thole.Failure, 500},
		{"written, then 500", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "a"); w.WriteHeader(500) }, nil, thole.Success, 0},
		{"own: 404 fails", status(404), func(int) thole.Outcome { return thole.Failure }, thole.Failure, 404},
		{"own: 500 succeeds", status(500), func(int) thole.Outcome { return thole.Success }, thole.Success, 0},
		{"own: 500 is ignored", status(500), func(int) thole.Outcome { return thole.Ignored }, thole.Ignored, 500},
		{"own: silence fails", status(), func(int) thole.Outcome { return thole.Failure }, thole.Failure, 200},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			spy := &serverSpy{}
			h := tholehttp.NewHandler(row.next, spy, tholehttp.HandlerConfig{Outcome: row.outcome})
			bare, guarded := httptest.NewRecorder(), httptest.NewRecorder()
			row.next(bare, httptest.NewRequest("GET", "/", nil))
			h.ServeHTTP(guarded, httptest.NewRequest("GET", "/", nil))
			err := spy.last(t)
			assert.Equal(t, row.want, thole.OutcomeOf(t.Context(), err))
			var se *tholehttp.StatusError
			if row.code == 0 {
				assert.NoError(t, err)
			} else if assert.ErrorAs(t, err, &se) {
				assert.Equal(t, row.code, se.StatusCode)
				assert.Nil(t, se.Response)
				assert.Equal(t, row.want == thole.Failure, thole.IsPermanent(err))
			}
			assert.False(t, thole.Retryable(err))
			assert.Equal(t, bare.Result().StatusCode, guarded.Result().StatusCode)
			assert.Equal(t, bare.Result().Header, guarded.Result().Header)
			assert.Equal(t, bare.Body.String(), guarded.Body.String())
		})
	}
}

func TestHandler_rule47_clientGoneWhileQueuedFreesThePlace(t *testing.T) {
	serverProtocols(t, func(t *testing.T, start func(http.Handler) *served) {
		q := newServerQueue(1)
		enter, leave := make(chan string, 10), make(chan struct{})
		var mu sync.Mutex
		var rejected []error
		s := start(tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			enter <- r.URL.Path
			<-leave
		}), q, tholehttp.HandlerConfig{OnReject: func(_ http.ResponseWriter, r *http.Request, err error) {
			mu.Lock()
			defer mu.Unlock()
			rejected = append(rejected, err)
		}}))

		first := make(chan error, 1)
		go func() {
			resp, err := s.client.Get(s.URL + "/first")
			if err == nil {
				resp.Body.Close()
			}
			first <- err
		}()
		require.Equal(t, "/first", <-enter)

		ctx, cancel := context.WithCancel(t.Context())
		second := make(chan error, 1)
		go func() {
			req, _ := http.NewRequestWithContext(ctx, "GET", s.URL+"/second", nil)
			_, err := s.client.Do(req)
			second <- err
		}()
		<-q.waiting
		cancel()
		require.ErrorIs(t, <-second, context.Canceled)
		require.Eventually(t, func() bool { mu.Lock(); defer mu.Unlock(); return len(rejected) == 1 }, 5*time.Second, time.Millisecond)
		assert.ErrorIs(t, rejected[0], context.Canceled)
		assert.ErrorIs(t, rejected[0], thole.ErrRejected)

		close(leave)
		require.NoError(t, <-first)
		resp, _ := s.get(t, "/third")
		assert.Equal(t, 200, resp.StatusCode)
		assert.Equal(t, "/third", <-enter, "the second never ran")
	})
}

func TestHandler_rule47_workForAClientThatLeftSaysNothing(t *testing.T) {
	rows := []struct {
		name string
		next http.HandlerFunc
		want thole.Outcome
	}{
		{"answers 500", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }, thole.Ignored},
		{"answers nothing", func(http.ResponseWriter, *http.Request) {}, thole.Ignored},
		{"answers 200", func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(200) }, thole.Success},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			ctx, cancel := context.WithCancel(t.Context())
			spy := &serverSpy{}
			h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				cancel()
				<-r.Context().Done()
				row.next(w, r)
			}), spy, tholehttp.HandlerConfig{OnReject: func(http.ResponseWriter, *http.Request, error) { t.Error("OnReject called") }})
			h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil).WithContext(ctx))
			assert.Equal(t, row.want, thole.OutcomeOf(ctx, spy.last(t)))
		})
	}
}

func TestHandler_rule47_timeout(t *testing.T) {
	rows := []struct {
		name   string
		next   http.HandlerFunc
		status int
		body   string
		after  []string
	}{
		{"returned without a word", func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
			503, "Service Unavailable\n", []string{"1"}},
		{"answered in time", func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "here") }, 200, "here", nil},
		{"said nothing in time", func(http.ResponseWriter, *http.Request) {}, 200, "", nil},
		{"had begun to answer", func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, "be"); <-r.Context().Done() }, 200, "be", nil},
		{"answered in its own way", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); w.WriteHeader(504) }, 504, "", nil},
		{"answered late", func(w http.ResponseWriter, r *http.Request) { <-r.Context().Done(); io.WriteString(w, "late") }, 200, "late", nil},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				w := httptest.NewRecorder()
				h := tholehttp.NewHandler(row.next, serverTimeout(time.Second), tholehttp.HandlerConfig{})
				h.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
				resp := w.Result()
				assert.Equal(t, row.status, resp.StatusCode)
				assert.Equal(t, row.body, w.Body.String())
				assert.Equal(t, row.after, resp.Header["Retry-After"])
			})
		})
	}
}

func TestHandler_rule47_onReject(t *testing.T) {
	full := thole.Rejection(thole.ReasonFull, "no room")
	rows := []struct {
		name   string
		answer func(http.ResponseWriter)
		status int
		body   string
		after  string
	}{
		{"own answer", func(w http.ResponseWriter) {
			w.Header().Set("Retry-After", "7")
			w.WriteHeader(500)
			io.WriteString(w, `{"error":"busy"}`)
		}, 500, `{"error":"busy"}`, "7"},
		{"only looked on", func(http.ResponseWriter) {}, 503, "Service Unavailable\n", "1"},
	}
	for _, row := range rows {
		t.Run(row.name, func(t *testing.T) {
			req := httptest.NewRequest("GET", "/", nil)
			h := tholehttp.NewHandler(http.NotFoundHandler(), refuse(thole.Permanent(full)), tholehttp.HandlerConfig{
				OnReject: func(w http.ResponseWriter, r *http.Request, err error) {
					assert.Same(t, req, r)
					assert.Same(t, full, err, "without the mark")
					assert.Equal(t, "1", w.Header().Get("Retry-After"))
					row.answer(w)
				},
			})
			w := httptest.NewRecorder()
			h.ServeHTTP(w, req)
			assert.Equal(t, row.status, w.Code)
			assert.Equal(t, row.body, w.Body.String())
			assert.Equal(t, row.after, w.Header().Get("Retry-After"))
		})
	}
}

func TestHandler_skipIf(t *testing.T) {
	ok := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { io.WriteString(w, "ok") })
	h := tholehttp.NewHandler(ok, refuse(thole.ErrRejected), tholehttp.HandlerConfig{
		SkipIf: func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	})
	for path, want := range map[string]int{"/healthz": 200, "/": 503} {
		w := httptest.NewRecorder()
		h.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		assert.Equal(t, want, w.Code, path)
	}
}

func TestHandler_nilPolicyIsNone(t *testing.T) {
	next := http.NewServeMux()
	assert.Same(t, next, tholehttp.NewHandler(next, nil, tholehttp.HandlerConfig{}))
	assert.PanicsWithValue(t, "tholehttp: NewHandler: next is nil", func() {
		tholehttp.NewHandler(nil, &serverSpy{}, tholehttp.HandlerConfig{})
	})
}

func TestHandler_rule01_capacityIsWholeAfterwards(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newServerQueue(1)
		var next http.HandlerFunc
		h := tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { next(w, r) }), q, tholehttp.HandlerConfig{})
		for _, next = range []http.HandlerFunc{
			func(http.ResponseWriter, *http.Request) { panic("boom") },
			func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			func(http.ResponseWriter, *http.Request) { runtime.Goexit() },
			nil,
		} {
			done := make(chan struct{})
			go func() {
				defer close(done)
				defer func() { recover() }()
				h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil))
			}()
			<-done
			assert.Empty(t, q.permits)
		}
	})
}

func TestHandler_rule04_onePolicyServesManyHandlers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		q := newServerQueue(2)
		var mu sync.Mutex
		inside, most := 0, 0
		add := func(n int) {
			mu.Lock()
			defer mu.Unlock()
			inside += n
			most = max(most, inside)
		}
		next := http.HandlerFunc(func(http.ResponseWriter, *http.Request) {
			add(1)
			defer add(-1)
			time.Sleep(time.Second)
		})
		var wg sync.WaitGroup
		for range 5 {
			h := tholehttp.NewHandler(next, q, tholehttp.HandlerConfig{})
			for range 4 {
				wg.Go(func() { h.ServeHTTP(httptest.NewRecorder(), httptest.NewRequest("GET", "/", nil)) })
			}
		}
		wg.Wait()
		assert.Equal(t, 2, most)
	})
}
