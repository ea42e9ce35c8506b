package tholehttp

import (
	"math"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

var noon = time.Date(2026, time.March, 1, 12, 0, 0, 0, time.UTC)

func TestTransport_rule44_retryAfterForms(t *testing.T) {
	rows := []struct {
		value, date string
		want        time.Duration
		ok          bool
	}{
		{"0", "", 0, true},
		{"1", "", time.Second, true},
		{"007", "", 7 * time.Second, true},
		{"120", "", 2 * time.Minute, true},
		{"9223372036", "", longestRetryAfter, true},
		{"9223372036854775807", "", longestRetryAfter, true},
		{"9223372036854775808", "", longestRetryAfter, true},
		{strings.Repeat("9", 500), "", longestRetryAfter, true},
		{"Sun, 01 Mar 2026 12:00:30 GMT", "", 30 * time.Second, true},                             // IMF-fixdate
		{"Sunday, 01-Mar-26 12:00:30 GMT", "", 30 * time.Second, true},                            // RFC 850
		{"Sun Mar  1 12:00:30 2026", "", 30 * time.Second, true},                                  // asctime
		{"Sun, 01 Mar 2026 11:59:59 GMT", "", 0, true},                                            // past
		{"Fri, 31 Dec 9999 23:59:59 GMT", "", longestRetryAfter, true},                            // beyond any Duration
		{"Mon, 01 Jan 0001 00:00:00 GMT", "", 0, true},                                            // before any
		{"Sun, 01 Mar 2026 13:00:05 GMT", "Sun, 01 Mar 2026 13:00:00 GMT", 5 * time.Second, true}, // the server's clock is an hour ahead
		{"Sun, 01 Mar 2026 12:00:30 GMT", "yesterday", 30 * time.Second, true},
		{"", "", 0, false}, {"-1", "", 0, false}, {"+1", "", 0, false}, {"1.5", "", 0, false}, {"1s", "", 0, false},
		{"0x10", "", 0, false}, {"1e3", "", 0, false}, {"NaN", "", 0, false}, {"soon", "", 0, false}, {"１", "", 0, false},
		{"Sun, 01 Mar 2026", "", 0, false}, {"1, 2", "", 0, false},
	}
	for _, row := range rows {
		h := http.Header{"Retry-After": {row.value}}
		if row.date != "" {
			h.Set("Date", row.date)
		}
		got, ok := parseRetryAfter(h, noon)
		require.Equal(t, row.ok, ok, "%q", row.value)
		require.Equal(t, row.want, got, "%q", row.value)
	}
	_, ok := parseRetryAfter(nil, noon)
	require.False(t, ok)
}

func TestTransport_rule07_retryAfterDateIsTheServersClockAlone(t *testing.T) {
	h := http.Header{
		"Date":        {"Sun, 01 Mar 2026 12:00:00 GMT"},
		"Retry-After": {"Sun, 01 Mar 2026 12:00:05 GMT"},
	}
	for _, step := range []time.Duration{0, time.Hour, -time.Hour, 1e6 * time.Hour} {
		got, ok := parseRetryAfter(h, noon.Add(step))
		require.True(t, ok)
		require.Equal(t, 5*time.Second, got, "the local clock is %v off", step)
	}
}

func TestStatusError_retryAfterIsPresentOnlyWhenKnown(t *testing.T) {
	with := func(value string) *StatusError {
		return &StatusError{503, &http.Response{StatusCode: 503, Header: http.Header{"Retry-After": {value}}}}
	}
	for _, e := range []*StatusError{with(""), with("soon"), {503, nil}, {503, &http.Response{}}} {
		_, ok := thole.RetryAfter(e)
		require.False(t, ok)
	}
	for _, err := range []error{with("3"), &judged{with("3"), thole.Failure}, thole.Permanent(with("3"))} {
		d, ok := thole.RetryAfter(err)
		require.True(t, ok)
		require.Equal(t, 3*time.Second, d)
	}
}

func TestFormatRetryAfter(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-1: "1", 0: "1", 1: "1", time.Second: "1", time.Second + 1: "2", 90 * time.Second: "90",
		math.MinInt64: "1", math.MaxInt64: "3153600000",
	} {
		require.Equal(t, want, formatRetryAfter(d), "%v", d)
	}
}

func FuzzRetryAfter(f *testing.F) {
	for _, seed := range []string{"", "1", "-1", "99999999999999999999", "Sun, 01 Mar 2026 12:00:30 GMT", "Sun Mar  1 12:00:30 2026", "\x00", "1 "} {
		f.Add(seed, "Sun, 01 Mar 2026 12:00:00 GMT")
		f.Add(seed, "")
	}
	f.Fuzz(func(t *testing.T, value, date string) {
		d, ok := parseRetryAfter(http.Header{"Retry-After": {value}, "Date": {date}}, noon)
		if d < 0 || d > longestRetryAfter || !ok && d != 0 {
			t.Fatalf("%q at %q: %v, %v", value, date, d, ok)
		}
		if ok && strings.TrimLeft(value, "0123456789") != "" {
			if _, err := http.ParseTime(value); err != nil {
				t.Fatalf("%q was taken for %v", value, d)
			}
		}
		// What we write, we read: never less than was meant, and less than a second more.
		back, ok := parseRetryAfter(http.Header{"Retry-After": {formatRetryAfter(d)}}, noon)
		if !ok || back < d || back > max(d+time.Second, time.Second) {
			t.Fatalf("%v came back as %v", d, back)
		}
	})
}
