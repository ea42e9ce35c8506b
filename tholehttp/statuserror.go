package tholehttp

import (
	"fmt"
	"net/http"
	"time"

	"github.com/thole-go/thole"
)

// StatusError is what policies see of a response that is no success: one whose status, by
// default, is 429 or 5xx. net/http does not take such a response for an error, and neither
// does the caller of a [Transport], who gets the response itself; but a breaker has to
// count it and a retry to repeat it.
//
// A policy's hook finds it by errors.As. It may look at the response's status and headers;
// the body belongs to the caller who will get the response, if it is the last one, and
// must not be read or closed.
//
// [thole.OutcomeOf] reads it by its status: 5xx is a Failure, except 501, and so is what
// TransportConfig.Outcome says is one; 429 is Ignored. [thole.Retryable] is true for 429.
// [thole.RetryAfter] is what a Retry-After header says, or, where there is no valid one, the
// time after which a RateLimit header says that a quota used up is renewed (the largest t
// beside an r of 0; RateLimit is an Internet-Draft, draft-ietf-httpapi-ratelimit-headers). It
// reports false without either. A RateLimit beside an Age header is of a cache, and passed
// over; X-RateLimit headers, which have no common meaning, are not read.
type StatusError struct {
	StatusCode int
	Response   *http.Response // nil in the policies of a [NewHandler]
}

// Error names the status.
func (e *StatusError) Error() string {
	if text := http.StatusText(e.StatusCode); text != "" {
		return fmt.Sprintf("tholehttp: status %d %s", e.StatusCode, text)
	}
	return fmt.Sprintf("tholehttp: status %d", e.StatusCode)
}

// Outcome is the default reading of the status.
func (e *StatusError) Outcome() thole.Outcome { return statusOutcome(e.StatusCode) }

// Retryable reports whether the status asks for another try although it is no failure: 429
// does.
func (e *StatusError) Retryable() bool { return e.StatusCode == http.StatusTooManyRequests }

// As lets errors.As find a method RetryAfter() time.Duration, which [thole.RetryAfter] looks
// for, in an error whose response says when to come again, and only there.
func (e *StatusError) As(target any) bool {
	t, ok := target.(*interface{ RetryAfter() time.Duration })
	if !ok || e.Response == nil {
		return false
	}
	h := e.Response.Header
	d, ok := parseRetryAfter(h, time.Now())
	if !ok {
		d, ok = rateLimitReset(h)
	}
	if ok {
		*t = retryAfter(d)
	}
	return ok
}

// statusOutcome is what a status says about the health of the server: 5xx is a Failure,
// except 501, which says that the request is not one for this server; 429 says that the
// server is well and wants less; all else is an answer.
func statusOutcome(code int) thole.Outcome {
	switch {
	case code == http.StatusTooManyRequests:
		return thole.Ignored
	case code == http.StatusNotImplemented:
		return thole.Success
	case code >= 500:
		return thole.Failure
	}
	return thole.Success
}
