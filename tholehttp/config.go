package tholehttp

import (
	"net/http"

	"github.com/thole-go/thole"
)

// TransportConfig configures a [Transport]. The zero value is ready to use; no value is
// invalid. The hooks are called concurrently.
type TransportConfig struct {
	_ [0]func()

	// Outcome says what the end of one attempt means: exactly one of the response and the
	// error is nil. The response's body must not be read. It is not asked about an attempt
	// that its context ended. Nil means [DefaultOutcome].
	//
	// A response that is a [thole.Failure] or [thole.Ignored] reaches the policies as a
	// [*StatusError]; the caller gets the response all the same.
	Outcome func(*http.Response, error) thole.Outcome

	// Repeatable says whether the request may be sent more than once. Nil means
	// [DefaultRepeatable]. It is not asked about a request that can only be sent once,
	// whatever its method (see [Transport]).
	Repeatable func(*http.Request) bool

	// MaxReplayBytes bounds the memory, in bytes per call, in which the body of a repeatable
	// request is kept for further attempts when the request has no GetBody: a body whose
	// ContentLength is known and at most that is kept as it is sent. A request with a larger
	// body or one of unknown length is sent once. 0 means 65,536; negative keeps none.
	MaxReplayBytes int64

	// Fallback, if set, gives the caller another response when all else failed: it is called
	// with the error that would be returned, or with a [*StatusError] in place of the failing
	// response that would be returned. To decline it returns a nil response with the error it
	// was given, or with nil: then the caller gets what it would have got without it. The
	// failing response is closed, unless it is that or Fallback returns it itself.
	//
	// The request is the caller's; one with a body is a copy, whose Body can be sent again if
	// the request has a GetBody or its body was kept, and fails to be read otherwise.
	Fallback func(*http.Request, error) (*http.Response, error)
}

// defaultReplayBytes is MaxReplayBytes where it is 0: large enough for the calls of an API,
// small enough to be held once for each call in flight.
const defaultReplayBytes = 64 << 10

// replayBytes is MaxReplayBytes with its default filled in.
func (c *TransportConfig) replayBytes() int64 {
	if c.MaxReplayBytes == 0 {
		return defaultReplayBytes
	}
	return c.MaxReplayBytes
}
