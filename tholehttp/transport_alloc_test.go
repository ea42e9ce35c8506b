//go:build !race

package tholehttp_test

import (
	"net/http"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

func TestTransport_allocationsOfAStack(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
	p := thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{}), timeout.New(timeout.Config{Limit: time.Second}))
	tr := transport(base, p)
	r := get(t, "http://server.test/")
	got := testing.AllocsPerRun(1000, func() {
		if _, err := tr.RoundTrip(r); err != nil {
			t.Fatal(err)
		}
	})
	require.LessOrEqual(t, got, 6.0)
}

func TestTransport_allocations(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
	nothing := thole.Chain()
	for name, row := range map[string]struct {
		method string
		most   float64
	}{
		"repeatable":     {http.MethodGet, 3},
		"not repeatable": {http.MethodPost, 3},
	} {
		tr := transport(base, nothing)
		r := get(t, "http://server.test/")
		r.Method = row.method
		got := testing.AllocsPerRun(1000, func() {
			if _, err := tr.RoundTrip(r); err != nil {
				t.Fatal(err)
			}
		})
		require.LessOrEqual(t, got, row.most, name)
	}
}
