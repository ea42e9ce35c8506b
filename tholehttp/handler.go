package tholehttp

import (
	"net/http"

	"github.com/thole-go/thole"
)

// HandlerConfig configures a [NewHandler]. The zero value works; every field is optional.
type HandlerConfig struct {
	_ [0]func()

	// Outcome says what a response's status means for the policy. Default: 5xx is a Failure,
	// except 501; 429 is Ignored; all else is a Success. It is not asked for a response that
	// the handler aborted, or for a hijacked connection.
	Outcome func(status int) thole.Outcome

	// OnReject is called with each request that the policy refused or timed out, to answer it
	// in the service's own format. err is the policy's error: [RejectionStatus] gives the
	// status that the default answer has. The Retry-After header is set already, and may be
	// changed. If it writes nothing, the default answer follows: so it can serve to log alone.
	// Where the client is gone (r.Context() is done) the answer goes nowhere.
	// Default: the status, and its text as a plain text body.
	OnReject func(w http.ResponseWriter, r *http.Request, err error)

	// SkipIf tells which requests pass by the policy, such as a health check that has to be
	// answered under overload too. Default: none.
	SkipIf func(r *http.Request) bool

	// Target names what a request is for, which [thole.PerTarget] keys on; "" leaves the
	// context as it is. Default: r.Pattern, which is there if an http.ServeMux called this
	// handler. It is never the host or the path by default: those are the client's choice, and
	// a client must not be able to fill the keys.
	Target func(r *http.Request) string
}

// NewHandler returns a handler that runs next inside p: a bulkhead bounds the requests in
// progress, a rate limit those per second, a timeout puts a deadline on the request's
// context. It works with any policy. A nil p is none, and next is returned as it is.
//
// # Rejections
//
// A request that p refuses is answered, its body unread, with 429 where a rate limit was
// exceeded and with 503 for all other reasons, timeouts included, and with a Retry-After
// header: the seconds that p's error names ([thole.RetryAfter]), rounded up, at least 1.
// Nothing is ever written after next has written.
//
// # Time limits
//
// A timeout is cooperative: next sees the deadline in its request's context and returns by
// itself. If it returns without having written, its context's deadline being over, the
// answer is 503, without the headers that next has set to describe its own (Content-Encoding,
// Etag, Cache-Control and the like); what it has written stays. For a limit that does not rest
// on next, set the deadlines of the connection by http.ResponseController, which works as
// without p.
//
// # What p sees
//
// A [*StatusError] where the status is a Failure, and nil where it is a Success; an error
// that is Ignored where it is neither, or where the client had gone before next wrote a
// good answer. A hijacked connection is a Success. A panic passes through p as it is, and
// counts as a Failure; but http.ErrAbortHandler, which is how a handler gives up a
// response, is shown to p as an Ignored error and raised again behind it.
//
// next is never run twice: p's context is marked by [thole.Once], and where p runs its
// function again all the same, it gets the first run's error. The mark ends there, as do
// all that thole's policies note about a call: to next, the context's values are those that
// the request came with and what other policies add, so calls that next makes with it are
// calls of their own, and may be retried.
//
// ServeHTTP returns when next has returned, even if p returns earlier.
//
// # Fidelity
//
// The ResponseWriter that next gets has the optional methods that the original has: Flush,
// Hijack, Push, ReadFrom and CloseNotify, and an Unwrap method for the rest. One thing is
// lost, as with any wrapper: http.MaxBytesReader can't make the server close the connection
// of a request that was too large. What next learns about its request (the parsed form, the
// pattern and path values of an http.ServeMux inside) is visible in the original when
// ServeHTTP returns, and the temporary files of a multipart form are removed.
//
// While a request waits for p, net/http notices that its client is gone by reading from the
// connection, which in HTTP/1 it does only for a request without a body, so bound the wait
// by p's own means too.
func NewHandler(next http.Handler, p thole.Policy, cfg HandlerConfig) http.Handler {
	if next == nil {
		panic("tholehttp: NewHandler: next is nil")
	}
	if p == nil {
		return next
	}
	h := &handler{next: next, policy: p, cfg: cfg}
	if h.cfg.Outcome == nil {
		h.cfg.Outcome = statusOutcome
	}
	if h.cfg.Target == nil {
		h.cfg.Target = func(r *http.Request) string { return r.Pattern }
	}
	return h
}

type handler struct {
	next   http.Handler
	policy thole.Policy
	cfg    HandlerConfig
}

// ServeHTTP runs the next handler inside the policy.
func (h *handler) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if h.cfg.SkipIf != nil && h.cfg.SkipIf(r) {
		h.next.ServeHTTP(w, r)
		return
	}
	x := &exchange{handler: h, outer: r, writer: writer{base: w}}
	x.finish(x.do(x.policyContext()))
}
