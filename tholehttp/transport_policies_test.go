package tholehttp_test

import (
	"context"
	"io"
	"net/http"
	"net/url"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

func retrier(attempts int) thole.Policy {
	return retry.New(retry.Config{MaxAttempts: attempts, Backoff: retry.Constant(time.Second), Budget: thole.NoBudget})
}

func limit(d time.Duration) thole.Policy { return timeout.New(timeout.Config{Limit: d}) }

func TestTransport_rule40_thousandCallsUnderTheWholeStack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var served atomic.Int64
		base, net := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if served.Add(1)%2 == 1 {
				http.Error(w, "busy", http.StatusServiceUnavailable)
				return
			}
			_, _ = io.WriteString(w, "fine")
		})
		base.MaxConnsPerHost = 1
		b := breaker.New(breaker.Config{FailureRatio: 0.9})
		full := bulkhead.New(bulkhead.Config{Limit: 1})
		client := &http.Client{Transport: transport(base, thole.Chain(limit(time.Minute), full, retrier(3), b, limit(10*time.Second)))}
		for range 1000 {
			resp, err := client.Get("http://server.test/")
			require.NoError(t, err)
			require.Equal(t, "fine", readAll(t, resp))
		}
		require.EqualValues(t, 2000, served.Load())
		require.EqualValues(t, 1, net.dials.Load(), "connections made")
	})
}

func TestTransport_rule41_timeLimitCoversTheHeadersNotTheBody(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path == "/late" {
				<-r.Context().Done()
				return
			}
			_ = http.NewResponseController(w).Flush()
			time.Sleep(5 * time.Second) // of the bubble's time
			_, _ = io.WriteString(w, "at last")
		})
		client := &http.Client{Transport: transport(base, thole.Chain(limit(10*time.Second), retrier(2), limit(time.Second)))}
		start := time.Now()
		resp, err := client.Get("http://server.test/")
		require.NoError(t, err)
		require.Zero(t, time.Since(start))
		require.Equal(t, "at last", readAll(t, resp))
		require.Equal(t, 5*time.Second, time.Since(start))

		start = time.Now()
		_, err = client.Get("http://server.test/late")
		require.Equal(t, 3*time.Second, time.Since(start), "two attempts of a second, and the pause")
		require.ErrorIs(t, err, timeout.ErrTimeout)
		require.ErrorIs(t, err, context.DeadlineExceeded)
		require.True(t, err.(*url.Error).Timeout())
		var re *retry.Error
		require.ErrorAs(t, err, &re)
		require.Equal(t, 2, re.Attempts)
	})
}

func TestTransport_rule41_finalResponseOfARetrierIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made bodies
		for _, codes := range [][]int{{503}, {503, 502, 500}, {429}} {
			resp, err := transport(statuses(&made, codes...), thole.Chain(limit(time.Minute), retrier(3), limit(time.Second))).
				RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, codes[len(codes)-1], resp.StatusCode)
			require.Equal(t, http.StatusText(resp.StatusCode), readAll(t, resp))
			made.requireClosed(t)
		}
		require.Len(t, made.all, 9)
	})
}

func TestTransport_totalLimitInAPauseIsATimeout(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made bodies
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(500*time.Millisecond, cancel)
		_, err := transport(statuses(&made, 503), retrier(3)).RoundTrip(get(t, "http://server.test/").WithContext(ctx))
		require.ErrorIs(t, err, context.Canceled, "the caller's end in the pause")
		made.requireClosed(t)

		// A pause that cannot fit is not begun: the response is still there, and is returned.
		resp, err := transport(statuses(&made, 503), thole.Chain(limit(500*time.Millisecond), retrier(3))).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		require.Equal(t, "Service Unavailable", readAll(t, resp))
	})
}

func TestTransport_rule44_retryAfterIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		after := ""
		n := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			resp := reply(r, 503, http.NoBody)
			if n++; n%2 == 0 {
				resp.StatusCode = 200
			}
			resp.Header.Set("Retry-After", after)
			return resp, nil
		})
		tr := transport(base, retrier(2))
		for value, want := range map[string]time.Duration{
			"7": 7 * time.Second, "0": time.Second, "garbage": time.Second,
			time.Now().Add(20 * time.Second).UTC().Format(http.TimeFormat): 20 * time.Second,
		} {
			n, after = 0, value
			start := time.Now()
			if want == 20*time.Second {
				start = time.Now().Truncate(time.Second)
				after = time.Now().Add(want).UTC().Format(http.TimeFormat)
			}
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, 200, resp.StatusCode, value)
			took := time.Since(start)
			require.GreaterOrEqual(t, took, want, value)
			require.LessOrEqual(t, took, want+want/10, value)
		}
		for _, value := range []string{"31", "9223372036854775807", "99999999999999999999999"} {
			n, after = 0, value
			start := time.Now()
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode, "given up, and at once: %s", value)
			require.Zero(t, time.Since(start))
		}
	})
}

func TestTransport_rule44_breakerCountsFailuresOnly(t *testing.T) {
	var made bodies
	for code, opens := range map[int]bool{200: false, 404: false, 429: false, 501: false, 500: true, 503: true} {
		b := breaker.New(breaker.Config{ConsecutiveFailures: 3})
		tr := transport(statuses(&made, code), b)
		for range 10 {
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			if err != nil {
				require.ErrorIs(t, err, breaker.ErrOpen)
				continue
			}
			readAll(t, resp)
		}
		require.Equal(t, opens, b.State() == breaker.Open, "%d", code)
	}
}

func TestTransport_bulkheadHoldsItsPermitUntilTheBodyIsClosed(t *testing.T) {
	var made bodies
	tr := transport(statuses(&made, 200, 503, 200), bulkhead.New(bulkhead.Config{Limit: 1}))
	for range 3 {
		resp, err := tr.RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		_, err = tr.RoundTrip(get(t, "http://server.test/"))
		require.ErrorIs(t, err, bulkhead.ErrFull)
		readAll(t, resp)
	}
}

func BenchmarkTransport_stack(b *testing.B) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
	p := thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{}), limit(time.Second))
	tr := transport(base, p)
	r := get(b, "http://server.test/")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := tr.RoundTrip(r); err != nil {
			b.Fatal(err)
		}
	}
}
