package tholehttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/tholehttp"
)

// A base that ignores the context may answer long after the hedge has given the attempt up. That
// answer is nobody's: it must not stand in the way of the next attempt of a retry further out.
func TestTransport_anAnswerAfterItWasGivenUpDoesNotClaimTheCall(t *testing.T) {
	const ms = time.Millisecond
	for name, late := range map[string]time.Duration{"before the next attempt": 3 * ms, "during it": 15 * ms} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := hedge.New(hedge.Config{Delay: time.Hour})
				again := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					limited, cancel := context.WithTimeout(ctx, ms)
					defer cancel()
					require.ErrorIs(t, h.Do(limited, fn), context.DeadlineExceeded)
					time.Sleep(5 * ms)
					return h.Do(ctx, fn)
				})
				var runs atomic.Int32
				base := answering(func(r *http.Request) (*http.Response, error) {
					text := "late"
					if runs.Add(1) == 1 {
						time.Sleep(late)
					} else {
						time.Sleep(20 * ms)
						text = "in time"
					}
					return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader(text)), Request: r}, nil
				})
				req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://callee", nil)
				require.NoError(t, err)
				resp, err := tholehttp.NewTransport(base, again, tholehttp.TransportConfig{}).RoundTrip(req)
				require.NoError(t, err)
				body, err := io.ReadAll(resp.Body)
				require.NoError(t, err)
				require.Equal(t, "in time", string(body))
				require.NoError(t, resp.Body.Close())
				time.Sleep(time.Hour)
			})
		})
	}
}

type answering func(*http.Request) (*http.Response, error)

func (f answering) RoundTrip(r *http.Request) (*http.Response, error) { return f(r) }

// slowToTell hears at once how a run ended and tells it later, as does a goroutine that loses the
// processor in between.
var slowToTell = thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
	defer time.Sleep(10 * time.Millisecond)
	return fn(ctx)
})

// An answer that came before the hedge gave up is one, however late the hedge hears of it.
func TestTransport_rule02_anAnswerThatClaimedTheCallIsNotDropped(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		p := thole.Chain(hedge.New(hedge.Config{Delay: time.Hour}), slowToTell)
		base := answering(func(r *http.Request) (*http.Response, error) {
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("in time")), Request: r}, nil
		})
		ctx, cancel := context.WithTimeout(t.Context(), ms)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://callee", nil)
		require.NoError(t, err)
		resp, err := tholehttp.NewTransport(base, p, tholehttp.TransportConfig{}).RoundTrip(req)
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, resp.StatusCode)
		require.NoError(t, resp.Body.Close())
	})
}

// The second of two answers is told context.Canceled, which is no failure to a breaker around it.
func TestTransport_aLateAnswerIsNoFailure(t *testing.T) {
	const ms = time.Millisecond
	synctest.Test(t, func(t *testing.T) {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
		p := thole.Chain(hedge.New(hedge.Config{Delay: ms}), slowToTell, b)
		base := answering(func(r *http.Request) (*http.Response, error) {
			time.Sleep(2 * ms)
			return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(strings.NewReader("text")), Request: r}, nil
		})
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://callee", nil)
		require.NoError(t, err)
		resp, err := tholehttp.NewTransport(base, p, tholehttp.TransportConfig{}).RoundTrip(req)
		require.NoError(t, err)
		require.NoError(t, resp.Body.Close())
		time.Sleep(time.Hour)
		require.Equal(t, breaker.Closed, b.State())
	})
}
