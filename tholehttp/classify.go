package tholehttp

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"net/http"
	"strings"

	"github.com/thole-go/thole"
)

// DefaultOutcome is what the end of one attempt means when TransportConfig.Outcome does not
// say otherwise.
//
// A response is a Failure by a status of 5xx, except 501; 429 is Ignored, and yet
// [thole.Retryable]; every other response is an answer, a Success. An error is a Failure,
// unless it is of the caller's own making (a malformed request, a body that cannot be read):
// that says nothing of the server, and is Ignored. What befell the body of a request that is
// sent only once is an exception: the base reads that itself, and its error does not tell.
func DefaultOutcome(resp *http.Response, err error) thole.Outcome {
	if err == nil {
		return statusOutcome(resp.StatusCode)
	}
	if callersFault(err) {
		return thole.Ignored
	}
	return thole.OutcomeOf(context.Background(), err)
}

// judged carries an outcome which err alone would not tell.
type judged struct {
	error
	outcome thole.Outcome
}

func (j *judged) Unwrap() error          { return j.error }
func (j *judged) Outcome() thole.Outcome { return j.outcome }

// judge turns the error of an attempt that ran under ctx into what the policies should see
// of it.
func (t *Transport) judge(ctx context.Context, err error) error {
	if ended(ctx, err) {
		return contextError(ctx, err)
	}
	fault := callersFault(err)
	seen := err
	if t.cfg.Outcome != nil {
		if o := t.cfg.Outcome(nil, err); o != thole.OutcomeOf(ctx, err) {
			seen = &judged{err, o}
		}
	} else if fault {
		seen = &judged{err, thole.Ignored}
	}
	if fault || hopeless(err) {
		return thole.Permanent(seen)
	}
	return seen
}

// ended reports whether err is what came of ctx's end.
func ended(ctx context.Context, err error) bool {
	ctxErr := ctx.Err()
	return ctxErr != nil && (errors.Is(err, ctxErr) || errors.Is(err, context.Cause(ctx)))
}

// localError is an error that arose before anything was sent, from what the caller gave.
type localError struct{ error }

func (e *localError) Unwrap() error { return e.error }

// callersFault reports whether the request could not be sent because of what the caller put
// into it. net/http gives such errors no type, only these words.
func callersFault(err error) bool {
	return within(err, func(err error) bool {
		if _, ok := err.(*localError); ok {
			return true
		}
		text := err.Error()
		for _, prefix := range faultPrefixes {
			if strings.HasPrefix(text, prefix) {
				return true
			}
		}
		return false
	})
}

var faultPrefixes = []string{
	"unsupported protocol scheme",
	"http: nil Request.",
	"http: no Host in request URL",
	"http: invalid Host header",
	"http: Request.",       // ContentLength=3 with nil Body; RequestURI can't be set
	"http: ContentLength=", // 3 with Body length 5
	"net/http: invalid ",   // header, trailer, method
	"net/http: can't write control character",
	"invalid Trailer key",
	"http2: unsupported scheme",
	"http2: invalid ", // Connection request header, request :path
	"http2: request header list larger than peer's advertised limit",
	"http2: request body larger than specified content length",
}

// hopeless reports whether the next attempt would end with the same error: the server's
// certificate is not accepted, or it does not speak TLS at all.
func hopeless(err error) bool {
	return within(err, func(err error) bool {
		switch err.(type) {
		case *tls.CertificateVerificationError, tls.RecordHeaderError, *tls.ECHRejectionError,
			x509.UnknownAuthorityError, x509.HostnameError, x509.CertificateInvalidError,
			x509.SystemRootsError, x509.ConstraintViolationError, x509.UnhandledCriticalExtension,
			x509.InsecureAlgorithmError:
			return true
		}
		return err == http.ErrUseLastResponse || err == http.ErrSchemeMismatch || err == http.ErrSkipAltProtocol
	})
}

// within reports whether is says yes to err or one in its tree. It asks in the order of
// errors.As.
func within(err error, is func(error) bool) bool {
	if err == nil {
		return false
	}
	if is(err) {
		return true
	}
	switch w := err.(type) {
	case interface{ Unwrap() error }:
		return within(w.Unwrap(), is)
	case interface{ Unwrap() []error }:
		for _, err := range w.Unwrap() {
			if within(err, is) {
				return true
			}
		}
	}
	return false
}
