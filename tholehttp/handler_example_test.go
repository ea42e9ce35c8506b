package tholehttp_test

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

// A policy around a handler: here one that refuses all. In a service it would be a
// bulkhead.New, a ratelimit.NewTokenBucket, a timeout.New, or a thole.Chain of them.
func ExampleNewHandler() {
	full := thole.Rejection(thole.ReasonFull, "no room")
	busy := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return full })

	mux := http.NewServeMux()
	mux.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "served") })
	handler := tholehttp.NewHandler(mux, busy, tholehttp.HandlerConfig{
		SkipIf: func(r *http.Request) bool { return r.URL.Path == "/healthz" },
	})

	for _, path := range []string{"/orders", "/healthz"} {
		w := httptest.NewRecorder()
		handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
		fmt.Println(path, w.Code, "Retry-After:", w.Header().Get("Retry-After"))
	}
	// Output:
	// /orders 503 Retry-After: 1
	// /healthz 200 Retry-After:
}

// Rejections in the service's own format.
func ExampleRejectionStatus() {
	limited := thole.Rejection(thole.ReasonLimited, "100 requests a second")
	limiter := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return limited })

	handler := tholehttp.NewHandler(http.NotFoundHandler(), limiter, tholehttp.HandlerConfig{
		OnReject: func(w http.ResponseWriter, _ *http.Request, err error) {
			w.Header().Set("Content-Type", "application/problem+json")
			w.WriteHeader(tholehttp.RejectionStatus(err))
			json.NewEncoder(w).Encode(map[string]string{"title": err.Error()})
		},
	})

	w := httptest.NewRecorder()
	handler.ServeHTTP(w, httptest.NewRequest("GET", "/", nil))
	fmt.Print(w.Code, " ", w.Body)
	// Output:
	// 429 {"title":"100 requests a second"}
}
