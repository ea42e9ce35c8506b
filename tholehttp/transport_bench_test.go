package tholehttp_test

import (
	"io"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/thole-go/thole"
)

func BenchmarkTransport_stub(b *testing.B) {
	resp := &http.Response{StatusCode: 200, Body: http.NoBody}
	base := roundTripper(func(*http.Request) (*http.Response, error) { return resp, nil })
	for _, row := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"bare", base},
		{"no policy", transport(base, nil)},
		{"empty chain", transport(base, thole.Chain())},
	} {
		b.Run(row.name, func(b *testing.B) {
			r := get(b, "http://server.test/")
			b.ReportAllocs()
			for b.Loop() {
				if _, err := row.rt.RoundTrip(r); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

func BenchmarkTransport_loopback(b *testing.B) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "fine") }))
	defer s.Close()
	base := http.DefaultTransport.(*http.Transport).Clone()
	defer base.CloseIdleConnections()
	for _, row := range []struct {
		name string
		rt   http.RoundTripper
	}{
		{"bare", base},
		{"retry", transport(base, retrying(3, nil))},
		{"retry and own context", transport(base, thole.Chain(retrying(3, nil), &scoped{}))},
	} {
		b.Run(row.name, func(b *testing.B) {
			client := &http.Client{Transport: row.rt}
			b.ReportAllocs()
			for b.Loop() {
				resp, err := client.Get(s.URL)
				if err != nil {
					b.Fatal(err)
				}
				_, _ = io.Copy(io.Discard, resp.Body)
				resp.Body.Close()
			}
		})
	}
}
