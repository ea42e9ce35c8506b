package standard_test

import (
	"fmt"
	"net/http"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholehttp"
)

func ExampleClient() {
	client := &http.Client{Transport: tholehttp.NewTransport(nil, standard.Client(), tholehttp.TransportConfig{})}
	_ = client // as safe as before, and safer on a bad day
	fmt.Print(thole.Explain(standard.Client()))
	// Output:
	// timeout[total](retry(perTarget(timeout[attempt])))
	//  1. timeout[total]: Limit 30s
	//  2. retry: MaxAttempts 3, MaxElapsed no bound, Backoff full jitter from 100ms to 10s, MaxRetryAfter 30s, Budget 20% of calls, at least 10/s, over 10s (own)
	//  3. perTarget: MaxKeys 10000, IdleFor 10m0s
	//  4. timeout[attempt]: Limit 10s
	// At worst a call takes 30s and runs fn 3 times.
}

func ExampleServer() {
	handler := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { fmt.Fprintln(w, "hello") })
	guarded := tholehttp.NewHandler(handler, standard.Server(100), tholehttp.HandlerConfig{})
	_ = guarded
	fmt.Println(standard.Server(100))
	// Output: bulkhead[server]
}
