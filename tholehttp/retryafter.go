package tholehttp

import (
	"net/http"
	"strconv"
	"time"
)

// longestRetryAfter is what a Retry-After beyond it counts as: it is for ever to every
// caller, and sums of it stay far from overflow.
const longestRetryAfter = 100 * 365 * 24 * time.Hour

// retryAfter is a duration with the method that [thole.RetryAfter] looks for.
type retryAfter time.Duration

func (r retryAfter) RetryAfter() time.Duration { return time.Duration(r) }

// parseRetryAfter reads the Retry-After header of a response that has just come (RFC 9110,
// section 10.2.3): whole seconds, or a date in any of the three forms of HTTP. What is past
// is 0, what is too large counts as longestRetryAfter. It reports false where there is none
// or it is malformed.
//
// A date is measured against the response's own Date, if it has one, so that it is the
// server's clock alone that counts; else against now.
func parseRetryAfter(h http.Header, now time.Time) (time.Duration, bool) {
	value := h.Get("Retry-After")
	if value == "" {
		return 0, false
	}
	if s, ok := parseSeconds(value); ok {
		return s, true
	}
	at, err := http.ParseTime(value)
	if err != nil {
		return 0, false
	}
	if date, err := http.ParseTime(h.Get("Date")); err == nil {
		now = date
	}
	// Sub saturates, so no date is too far away.
	return min(max(at.Sub(now), 0), longestRetryAfter), true
}

// parseSeconds reads 1*DIGIT, of any length.
func parseSeconds(s string) (time.Duration, bool) {
	const most = int64(longestRetryAfter / time.Second)
	var n int64
	for i := range len(s) {
		c := s[i]
		if c < '0' || c > '9' {
			return 0, false
		}
		n = min(n*10+int64(c-'0'), most)
	}
	return time.Duration(n) * time.Second, s != ""
}

// formatRetryAfter writes d as a Retry-After header: whole seconds, rounded up, at least 1,
// because to come back at once is what the header is to prevent.
func formatRetryAfter(d time.Duration) string {
	d = min(max(d, 0), longestRetryAfter)
	return strconv.FormatInt(max(1, int64((d+time.Second-1)/time.Second)), 10)
}
