package benchmarks

import (
	"context"
	"io"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/cristalhq/hedgedhttp"
	"github.com/failsafe-go/failsafe-go/circuitbreaker"
	"github.com/failsafe-go/failsafe-go/failsafehttp"
	"github.com/failsafe-go/failsafe-go/hedgepolicy"
	fstimeout "github.com/failsafe-go/failsafe-go/timeout"
	"github.com/hashicorp/go-retryablehttp"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholehttp"
)

// stub answers at once.
type stub struct{}

func (stub) RoundTrip(req *http.Request) (*http.Response, error) {
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody, Request: req}, nil
}

// A timeout, three attempts at 1 ms and more, a breaker after five failures in a row.
func tholeTransport(base http.RoundTripper) http.RoundTripper {
	return tholeTransportWith(base, tholeRow())
}

func tholeWindowTransport(base http.RoundTripper) http.RoundTripper {
	return tholeTransportWith(base, tholeWindow())
}

func tholeTransportWith(base http.RoundTripper, b *breaker.Breaker) http.RoundTripper {
	attempts := retry.New(retry.Config{MaxAttempts: 3, Backoff: retry.Exponential(time.Millisecond, time.Second)})
	return tholehttp.NewTransport(base, thole.Chain(tholeTimeout(enough), attempts, b), tholehttp.TransportConfig{})
}

// standardTransport has the ready-made stack: two timeouts, three attempts, and a breaker for each
// target, which opens after twelve failures in a row.
func standardTransport(base http.RoundTripper) http.RoundTripper {
	return tholehttp.NewTransport(base, standard.Client(), tholehttp.TransportConfig{})
}

func failsafeTransport(base http.RoundTripper) http.RoundTripper {
	return failsafehttp.NewRoundTripper(base,
		fstimeout.New[*http.Response](enough),
		failsafehttp.NewRetryPolicyBuilder().WithMaxRetries(2).WithBackoff(time.Millisecond, time.Second).Build(),
		circuitbreaker.NewBuilder[*http.Response]().
			HandleIf(func(r *http.Response, err error) bool { return err != nil || r != nil && r.StatusCode >= 500 }).
			WithFailureThreshold(row).WithDelay(never).Build(),
	)
}

// retryableTransport retries, and no more.
func retryableTransport(base http.RoundTripper) http.RoundTripper {
	c := retryablehttp.NewClient()
	c.HTTPClient = &http.Client{Transport: base}
	c.Logger, c.RetryMax, c.RetryWaitMin, c.RetryWaitMax = nil, 2, time.Millisecond, time.Second
	return &retryablehttp.RoundTripper{Client: c}
}

func tholeHedgeTransport(base http.RoundTripper, delay time.Duration) http.RoundTripper {
	return tholehttp.NewTransport(base, tholeHedge(delay), tholehttp.TransportConfig{})
}

func failsafeHedgeTransport(base http.RoundTripper, delay time.Duration) http.RoundTripper {
	return failsafehttp.NewRoundTripper(base, hedgepolicy.NewWithDelay[*http.Response](delay))
}

func hedgedTransport(base http.RoundTripper, delay time.Duration) http.RoundTripper {
	rt, err := hedgedhttp.New(hedgedhttp.Config{Transport: base, Upto: 2, Delay: delay})
	if err != nil {
		panic(err)
	}
	return rt
}

// withTimeout is what a time limit alone costs, by the standard library's means.
type withTimeout struct{ base http.RoundTripper }

func (t withTimeout) RoundTrip(req *http.Request) (*http.Response, error) {
	ctx, cancel := context.WithTimeout(req.Context(), enough)
	resp, err := t.base.RoundTrip(req.WithContext(ctx))
	if err != nil {
		cancel()
		return nil, err
	}
	resp.Body = &cancelOnClose{resp.Body, cancel}
	return resp, nil
}

type cancelOnClose struct {
	io.ReadCloser
	cancel context.CancelFunc
}

func (c *cancelOnClose) Close() error {
	defer c.cancel()
	return c.ReadCloser.Close()
}

// get fetches url and reads the answer to the end.
func get(rt http.RoundTripper, url string) (int, error) {
	resp, err := (&http.Client{Transport: rt}).Get(url)
	if err != nil {
		return 0, err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return resp.StatusCode, err
}

func TestTransport_retriesAndBreaks(t *testing.T) {
	for name, c := range map[string]struct {
		wrap       func(http.RoundTripper) http.RoundTripper
		opensAfter int // failed attempts, after the three that ended well; 0: it has no breaker
	}{
		"thole":            {tholeTransport, row},
		"thole, window":    {tholeWindowTransport, window - 3},
		"failsafe-go":      {failsafeTransport, row},
		"go-retryablehttp": {retryableTransport, 0},
	} {
		t.Run(name, func(t *testing.T) {
			var hits, bad atomic.Int32
			bad.Store(2)
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				hits.Add(1)
				if bad.Add(-1) >= 0 {
					w.WriteHeader(http.StatusServiceUnavailable)
				}
			}))
			defer srv.Close()
			rt := c.wrap(http.DefaultTransport)
			status, err := get(rt, srv.URL)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status)
			require.EqualValues(t, 3, hits.Load())
			if c.opensAfter == 0 {
				return
			}
			hits.Store(0)
			bad.Store(1 << 20)
			for range 20 {
				_, _ = get(rt, srv.URL)
			}
			require.EqualValues(t, c.opensAfter, hits.Load())
		})
	}
}

func TestTransport_standardRetriesAndBreaksPerTarget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hits := map[string]int{}
		rt := standardTransport(roundTrip(func(req *http.Request) (*http.Response, error) {
			hits[req.URL.Host]++
			status := http.StatusServiceUnavailable
			if req.URL.Host == "good" {
				status = http.StatusOK
			}
			return &http.Response{StatusCode: status, Body: http.NoBody, Request: req}, nil
		}))
		for range 4 {
			status, err := get(rt, "http://bad/")
			require.NoError(t, err)
			require.Equal(t, http.StatusServiceUnavailable, status)
		}
		require.Equal(t, 12, hits["bad"], "each call made three attempts")
		ctx, cancel := context.WithTimeout(t.Context(), time.Millisecond)
		defer cancel()
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://bad/", http.NoBody)
		require.NoError(t, err)
		_, err = rt.RoundTrip(req)
		require.ErrorIs(t, err, thole.ErrRejected)
		require.Equal(t, 12, hits["bad"])
		status, err := get(rt, "http://good/")
		require.NoError(t, err)
		require.Equal(t, http.StatusOK, status)
	})
}

type roundTrip func(*http.Request) (*http.Response, error)

func (f roundTrip) RoundTrip(req *http.Request) (*http.Response, error) { return f(req) }

func TestTransport_hedges(t *testing.T) {
	const delay = 5 * time.Millisecond
	for name, wrap := range map[string]func(http.RoundTripper, time.Duration) http.RoundTripper{
		"thole":       tholeHedgeTransport,
		"failsafe-go": failsafeHedgeTransport,
		"hedgedhttp":  hedgedTransport,
	} {
		t.Run(name, func(t *testing.T) {
			var hits atomic.Int32
			srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if hits.Add(1) == 1 {
					<-r.Context().Done()
				}
			}))
			defer srv.Close()
			status, err := get(wrap(http.DefaultTransport, delay), srv.URL)
			require.NoError(t, err)
			require.Equal(t, http.StatusOK, status)
			require.EqualValues(t, 2, hits.Load())
		})
	}
}

func benchTransport(b *testing.B, name string, rt http.RoundTripper) {
	b.Run(name, func(b *testing.B) {
		req, err := http.NewRequest(http.MethodGet, "http://example.com/", http.NoBody)
		if err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			resp, err := rt.RoundTrip(req)
			if err != nil {
				b.Fatal(err)
			}
			_ = resp.Body.Close()
		}
	})
}

func BenchmarkTransport(b *testing.B) {
	yardstick(b)
	benchTransport(b, "thole", tholeTransport(stub{}))
	benchTransport(b, "thole,_breaker_with_a_window", tholeWindowTransport(stub{}))
	benchTransport(b, "thole,_standard.Client", standardTransport(stub{}))
	benchTransport(b, "failsafe-go", failsafeTransport(stub{}))
	benchTransport(b, "go-retryablehttp,_retry_alone", retryableTransport(stub{}))
	benchTransport(b, "bare", stub{})
}

func BenchmarkTransportHedge(b *testing.B) {
	yardstick(b)
	benchTransport(b, "thole", tholeHedgeTransport(stub{}, time.Second))
	benchTransport(b, "failsafe-go", failsafeHedgeTransport(stub{}, time.Second))
	benchTransport(b, "hedgedhttp", hedgedTransport(stub{}, time.Second))
	benchTransport(b, "bare", stub{})
}

func BenchmarkHTTPClient(b *testing.B) {
	body := strings.Repeat("x", 1024)
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = io.WriteString(w, body)
	}))
	defer srv.Close()
	contenders := []struct {
		name string
		wrap func(http.RoundTripper) http.RoundTripper
	}{
		{"thole", tholeTransport},
		{"failsafe-go", failsafeTransport},
		{"go-retryablehttp,_retry_alone", retryableTransport},
		{"hand-written,_timeout_alone", func(rt http.RoundTripper) http.RoundTripper { return withTimeout{rt} }},
		{"bare", func(rt http.RoundTripper) http.RoundTripper { return rt }},
	}
	// Whoever comes first pays for a server that is not warm yet, and by a fifth: so each takes
	// its turn, and finds the server warm.
	rand.Shuffle(len(contenders), func(i, j int) { contenders[i], contenders[j] = contenders[j], contenders[i] })
	for _, c := range contenders {
		b.Run(c.name, func(b *testing.B) {
			base := http.DefaultTransport.(*http.Transport).Clone()
			defer base.CloseIdleConnections()
			client := &http.Client{Transport: c.wrap(base)}
			fetch := func() {
				resp, err := client.Get(srv.URL)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				_ = resp.Body.Close()
			}
			for range 200 {
				fetch()
			}
			for b.Loop() {
				fetch()
			}
		})
	}
}
