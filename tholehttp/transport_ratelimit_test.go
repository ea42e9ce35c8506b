package tholehttp_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestTransport_rule44_rateLimitReachesThePolicies(t *testing.T) {
	set := func(pairs ...string) func(http.Header) {
		return func(h http.Header) {
			for i := 0; i < len(pairs); i += 2 {
				h.Add(pairs[i], pairs[i+1])
			}
		}
	}
	const used = `"burst";r=0;t=7`
	rows := map[string]struct {
		status int
		header func(http.Header)
		want   time.Duration // negative: none
	}{
		"/429":         {429, set("RateLimit", used), 7 * time.Second},
		"/503":         {503, set("RateLimit", used, "RateLimit-Policy", `"burst";q=100;w=60;pk=:cHsdsRa894==:`), 7 * time.Second},
		"/500":         {500, set("RateLimit", used), 7 * time.Second},
		"/lines":       {429, set("RateLimit", used, "RateLimit", `"daily";r=0;t=9`), 9 * time.Second},
		"/lower-case":  {429, set("ratelimit", used), 7 * time.Second},
		"/with-after":  {429, set("RateLimit", used, "Retry-After", "5"), 5 * time.Second},
		"/wrong-after": {429, set("RateLimit", used, "Retry-After", "later"), 7 * time.Second},
		"/left":        {429, set("RateLimit", `"burst";r=3;t=7`), -1},
		"/malformed":   {429, set("RateLimit", used, "RateLimit", `"daily";r=0;t=1.5`), -1},
		"/cached":      {503, set("RateLimit", used, "Age", "3"), -1},
		"/legacy":      {429, set("X-RateLimit-Remaining", "0", "X-RateLimit-Reset", "7"), -1},
		"/trailer":     {429, set(http.TrailerPrefix+"RateLimit", used), -1},
	}
	eachProtocol(t, func(t *testing.T, h2 bool) {
		srv, base := listen(t, h2, func(w http.ResponseWriter, r *http.Request) {
			row := rows[r.URL.Path]
			row.header(w.Header())
			w.WriteHeader(row.status)
			_, _ = w.Write([]byte("no"))
			_ = http.NewResponseController(w).Flush() // so that trailers can follow
		})
		for path, row := range rows {
			s := &spy{}
			resp, err := transport(base, s).RoundTrip(get(t, srv.URL+path))
			require.NoError(t, err)
			require.Equal(t, "no", readAll(t, resp))
			if path == "/trailer" {
				require.Equal(t, used, resp.Trailer.Get("RateLimit"))
			}
			got, ok := thole.RetryAfter(s.last())
			require.Equal(t, row.want >= 0, ok, path)
			require.Equal(t, max(0, row.want), got, path)
		}
	})
}

func TestTransport_rule44_rateLimitIsHonoured(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		field, retried := "", false
		base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("RateLimit", field) // on successes too, where it delays nothing
			if retried = !retried; retried {
				w.WriteHeader(http.StatusTooManyRequests)
			}
		})
		tr := transport(base, retrier(2))
		for _, row := range []struct {
			field  string
			status int
			want   time.Duration
		}{
			{`"burst";r=0;t=7`, 200, 7 * time.Second},
			{`"burst";r=0;t=7, "hour";r=0;t=20, "day";r=5;t=3600`, 200, 20 * time.Second},
			{`"burst";r=0;t=0`, 200, time.Second}, // the schedule's
			{`"burst";r=1;t=7`, 200, time.Second},
			{`burst;r=0;t=7`, 200, time.Second},
			{`"day";r=0;t=31`, 429, 0}, // longer than MaxRetryAfter: given up at once
			{`"day";r=0;t=999999999999999`, 429, 0},
		} {
			field, retried = row.field, false
			start := time.Now()
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			readAll(t, resp)
			require.Equal(t, row.status, resp.StatusCode, row.field)
			took := time.Since(start)
			require.GreaterOrEqual(t, took, row.want, row.field)
			require.LessOrEqual(t, took, row.want+row.want/10, row.field)
		}
	})
}
