package tholehttp

import (
	"context"
	"net/http"
	"time"

	"github.com/thole-go/thole"
)

// Transport is an [http.RoundTripper] that sends requests through a [thole.Policy]. It is
// safe for concurrent use, as its base is.
//
// # What the caller gets
//
// Exactly what a RoundTripper promises: a response or an error. A failing response (503)
// which the policies gave up on is returned as a response, with a nil error and its body
// readable to the end. (One exception: if a hedge had another attempt under way, at most 64 KiB
// of the body are kept, and what had come after a moment; a longer one ends in an error.) A
// policy's refusal is returned as its error, which matches [thole.ErrRejected]; a time limit's
// as an error whose Timeout method says so. An error of the base to which nothing was added is
// returned itself. Responses that are not returned are drained, up to a few KiB and for a
// moment, and closed, before the pause that a retry makes, so that their connections serve
// again.
//
// The contexts of the attempt that won live until its body is read to the end, or fails, or
// is closed; so does what else a policy holds for the response, such as a bulkhead's permit.
// The caller must therefore do either, as with any RoundTripper. The time limit of a policy
// covers the call until the headers have come, not the body; http.Client.Timeout, or a
// deadline of the request's own context, covers both.
//
// # What is sent how often
//
// A request is sent more than once only if it is repeatable (see [DefaultRepeatable]) and
// its body can be sent again: because there is none, by GetBody, or because it is short
// enough to keep (TransportConfig.MaxReplayBytes). Requests with a Trailer, an Expect or
// Upgrade header, and CONNECT are sent once. For all others the policies' context says
// [thole.Once], and a policy that runs the attempt again regardless gets the outcome of
// the first. That holds for a dial that was refused too: a policy cannot know that nothing
// was sent. (net/http itself tries again where a connection it had kept turns out to be
// dead before anything was written.)
//
// Attempts are shallow copies of the request; the request itself is never changed, and
// resp.Request is the caller's pointer. Its body is closed exactly once on every path, after
// all attempts are done with it. A body that can be sent only once reaches the base as it
// is. Hooks that ride in the context, such as httptrace's, fire for each attempt; under a
// hedge they do so concurrently.
//
// The attempts share the request's URL, and the first its Header. Under a hedge the base may not
// be done with an attempt that lost when the response's body has been closed, which is when
// net/http allows to change a request: change a Clone of it then, or make a new one.
//
// # What the policies see
//
// The destination, as scheme://host:port, by [thole.TargetFrom]; a [*StatusError] for a
// failing response; the base's errors, marked [thole.Permanent] where another attempt would
// end alike, such as for a certificate that is not accepted. A policy that derives a
// context has to hand its cancellation over to the [thole.Lifetime] in the context it got,
// as all of this module do: one that cancels on return cuts the body off.
//
// The base gets a context in which all of that is still to be found. A policy of its own, such as
// a bulkhead around its dialing, must be run with [thole.Unmarked] of it: else what the policy
// holds is left to the response's lifetime, until the body is closed, and a call that is made
// only once makes its dialing so too.
type Transport struct {
	base     http.RoundTripper
	policy   thole.Policy
	blocking bool // the policy's runs do not overlap, and none outlives its Do
	cfg      TransportConfig
	targets  targets
}

// NewTransport returns a Transport that sends requests by base, under p. A nil base is
// [http.DefaultTransport], a nil p is no policy.
func NewTransport(base http.RoundTripper, p thole.Policy, cfg TransportConfig) *Transport {
	if base == nil {
		base = http.DefaultTransport
	}
	if p == nil && cfg.Fallback != nil {
		p = thole.Chain()
	}
	return &Transport{base: base, policy: p, blocking: thole.Blocking(p), cfg: cfg}
}

// RoundTrip implements [http.RoundTripper].
func (t *Transport) RoundTrip(req *http.Request) (*http.Response, error) {
	if t.policy == nil {
		return t.base.RoundTrip(req)
	}
	c := &call{t: t, req: req}
	return c.roundTrip()
}

// CloseIdleConnections closes the base's idle connections, if it can. http.Client's method
// of the same name calls it.
func (t *Transport) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// Unwrap returns the base.
func (t *Transport) Unwrap() http.RoundTripper { return t.base }

// WrappedRoundTripper returns the base, under the name by which Kubernetes' client library
// asks for it.
func (t *Transport) WrappedRoundTripper() http.RoundTripper { return t.base }

// watch returns a context that also ends when cancel is closed: a policy that waits knows
// contexts only. http.Client sets Request.Cancel to enforce its Timeout.
func watch(ctx context.Context, cancel <-chan struct{}, life *thole.Lifetime) context.Context {
	ctx, stop := context.WithCancelCause(ctx)
	life.Adopt(func() { stop(nil) })
	select {
	case <-cancel:
		canceled(ctx, stop)
		return ctx
	default:
	}
	go func() {
		select {
		case <-cancel:
			canceled(ctx, stop)
		case <-ctx.Done():
		}
	}()
	return ctx
}

// canceled ends ctx because Request.Cancel was closed. http.Client closes it at its Timeout,
// which is also the deadline of the context that it gave the request. Which of the two is here
// first is chance, but a time limit is a failure to the policies, and a cancellation is none: so
// where the time is up, ctx is left to say so itself.
func canceled(ctx context.Context, stop context.CancelCauseFunc) {
	if deadline, ok := ctx.Deadline(); ok && !time.Now().Before(deadline) {
		late := time.NewTimer(deadlineGrace)
		defer late.Stop()
		select {
		case <-ctx.Done():
		case <-late.C:
		}
	}
	stop(errCanceled)
}

// deadlineGrace is how late a context may be to end at its deadline: much later than one does
// whose timer runs.
const deadlineGrace = 100 * time.Millisecond
