package tholehttp

import (
	"net/http"

	"github.com/thole-go/thole"
)

// RejectionStatus returns the status that a [NewHandler] answers with to a request which its
// policy ended with err: 429 Too Many Requests where a rate limit was exceeded, else 503
// Service Unavailable.
func RejectionStatus(err error) int {
	switch reason, _ := thole.ReasonOf(err); reason {
	case thole.ReasonLimited, thole.ReasonBurst:
		return http.StatusTooManyRequests
	}
	return http.StatusServiceUnavailable
}

// reject answers in the handler's place.
func (x *exchange) reject(err error) {
	after, _ := thole.RetryAfter(err)
	x.writer.Header().Set("Retry-After", formatRetryAfter(after))
	w := x.writer.shape()
	if onReject := x.handler.cfg.OnReject; onReject != nil {
		onReject(w, x.outer, err)
		if x.writer.status != 0 || x.writer.hijacked {
			return
		}
	}
	status := RejectionStatus(err)
	http.Error(w, http.StatusText(status), status)
}
