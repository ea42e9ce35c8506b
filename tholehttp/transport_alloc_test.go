//go:build !race

package tholehttp_test

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestTransport_allocations(t *testing.T) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
	nothing := thole.Chain()
	for name, row := range map[string]struct {
		method string
		most   float64
	}{
		"repeatable":     {http.MethodGet, 4},
		"not repeatable": {http.MethodPost, 5},
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
