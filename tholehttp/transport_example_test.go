package tholehttp_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholehttp"
	"github.com/thole-go/thole/timeout"
)

// unsteady is a server that answers every other request with 503.
func unsteady() *httptest.Server {
	n := 0
	return httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if n++; n%2 == 1 {
			http.Error(w, "try again", http.StatusServiceUnavailable)
			return
		}
		_, _ = io.WriteString(w, "hello")
	}))
}

func show(resp *http.Response, err error) {
	if err != nil {
		fmt.Println(err)
		return
	}
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	fmt.Println(resp.StatusCode, strings.TrimSpace(string(body)))
}

func ExampleNewTransport() {
	server := unsteady()
	defer server.Close()
	client := &http.Client{Transport: tholehttp.NewTransport(nil, thole.Chain(
		timeout.New(timeout.Config{Name: "total", Limit: 30 * time.Second}),
		retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)}),
		breaker.New(breaker.Config{}),
		timeout.New(timeout.Config{Name: "attempt", Limit: 10 * time.Second}),
	), tholehttp.TransportConfig{})}

	show(client.Get(server.URL))
	// A POST is not repeatable: its one answer is the answer.
	show(client.Post(server.URL, "text/plain", strings.NewReader("order")))
	// Output:
	// 200 hello
	// 503 try again
}

func ExampleTransport_idempotencyKey() {
	server := unsteady()
	defer server.Close()
	client := &http.Client{Transport: tholehttp.NewTransport(nil,
		retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)}), tholehttp.TransportConfig{})}

	req, _ := http.NewRequest(http.MethodPost, server.URL, strings.NewReader("order"))
	req.Header.Set("Idempotency-Key", "order-4711")
	show(client.Do(req))
	// Output: 200 hello
}

func ExampleTransport_rejection() {
	b := breaker.New(breaker.Config{Name: "payments"})
	b.Isolate(time.Hour)
	client := &http.Client{Transport: tholehttp.NewTransport(nil, b, tholehttp.TransportConfig{})}

	_, err := client.Get("http://payments.test/")
	reason, _ := thole.ReasonOf(err)
	fmt.Println(errors.Is(err, thole.ErrRejected), reason)
	// Output: true isolated
}

func ExampleTransportConfig_outcome() {
	server := httptest.NewServer(http.NotFoundHandler())
	defer server.Close()
	b := breaker.New(breaker.Config{ConsecutiveFailures: 2})
	client := &http.Client{Transport: tholehttp.NewTransport(nil, b, tholehttp.TransportConfig{
		Outcome: func(resp *http.Response, err error) thole.Outcome {
			if err == nil && resp.StatusCode == http.StatusNotFound {
				return thole.Failure // this one should always be there
			}
			return tholehttp.DefaultOutcome(resp, err)
		},
	})}
	for range 2 {
		show(client.Get(server.URL))
	}
	fmt.Println(b.State())
	// Output:
	// 404 404 page not found
	// 404 404 page not found
	// open
}

func ExampleTransportConfig_repeatable() {
	server := unsteady()
	defer server.Close()
	client := &http.Client{Transport: tholehttp.NewTransport(nil,
		retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)}),
		tholehttp.TransportConfig{Repeatable: func(r *http.Request) bool {
			return r.URL.Path == "/search" || tholehttp.DefaultRepeatable(r)
		}},
	)}
	show(client.Post(server.URL+"/search", "text/plain", strings.NewReader("query")))
	// Output: 200 hello
}

func ExampleTransportConfig_fallback() {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { w.WriteHeader(500) }))
	defer server.Close()
	client := &http.Client{Transport: tholehttp.NewTransport(nil, nil, tholehttp.TransportConfig{
		Fallback: func(r *http.Request, err error) (*http.Response, error) {
			if r.URL.Path != "/rates" {
				return nil, err // as it would be without
			}
			return &http.Response{StatusCode: 200, Header: http.Header{"Warning": {`110 - "stale"`}}, Request: r,
				Body: io.NopCloser(strings.NewReader("yesterday's rates"))}, nil
		},
	})}
	show(client.Get(server.URL + "/rates"))
	show(client.Get(server.URL + "/orders"))
	// Output:
	// 200 yesterday's rates
	// 500
}

func ExampleStatusError() {
	server := unsteady()
	defer server.Close()
	client := &http.Client{Transport: tholehttp.NewTransport(nil, retry.New(retry.Config{
		Backoff: retry.Constant(time.Millisecond),
		OnRetry: func(_ context.Context, _ thole.Attempt, err error, _ time.Duration) {
			var status *tholehttp.StatusError
			if errors.As(err, &status) {
				fmt.Println("again, after", status.StatusCode)
			}
		},
	}), tholehttp.TransportConfig{})}
	show(client.Get(server.URL))
	// Output:
	// again, after 503
	// 200 hello
}

func ExampleResendCount() {
	server := unsteady()
	defer server.Close()
	traced := roundTripper(func(r *http.Request) (*http.Response, error) {
		fmt.Println("http.request.resend_count:", tholehttp.ResendCount(r.Context()))
		return http.DefaultTransport.RoundTrip(r)
	})
	client := &http.Client{Transport: tholehttp.NewTransport(traced,
		retry.New(retry.Config{Backoff: retry.Constant(time.Millisecond)}), tholehttp.TransportConfig{})}
	show(client.Get(server.URL))
	// Output:
	// http.request.resend_count: 0
	// http.request.resend_count: 1
	// 200 hello
}

func ExampleDefaultRepeatable() {
	for _, method := range []string{"GET", "PUT", "POST"} {
		r := httptest.NewRequest(method, "/", nil)
		fmt.Println(method, tholehttp.DefaultRepeatable(r))
	}
	// Output:
	// GET true
	// PUT true
	// POST false
}

func ExampleDefaultOutcome() {
	for _, status := range []int{200, 404, 429, 501, 503} {
		fmt.Println(status, tholehttp.DefaultOutcome(&http.Response{StatusCode: status}, nil))
	}
	// Output:
	// 200 success
	// 404 success
	// 429 ignored
	// 501 success
	// 503 failure
}
