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

// representation has the headers that describe one answer, and would belie another: a client
// would try to unzip it, and a cache keep it.
var representation = [...]string{"Cache-Control", "Content-Encoding", "Content-Length", "Content-Range", "Etag", "Expires", "Last-Modified"}

// described returns which of the representation's headers are set in h, one bit for each.
func described(h http.Header) (set uint8) {
	if len(h) == 0 {
		return 0
	}
	for i, name := range representation {
		if _, ok := h[name]; ok {
			set |= 1 << i
		}
	}
	return set
}

// reject answers in the handler's place. If the handler has run, and set headers for an answer
// that it never gave, they go; those that were there before it belong to somebody further out.
func (x *exchange) reject(err error) {
	header := x.writer.Header()
	if x.state.Load() != runRefused && len(header) > 0 {
		for i, name := range representation {
			if x.described&(1<<i) == 0 {
				delete(header, name)
			}
		}
	}
	after, _ := thole.RetryAfter(err)
	header.Set("Retry-After", formatRetryAfter(after))
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
