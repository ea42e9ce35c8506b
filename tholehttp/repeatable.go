package tholehttp

import (
	"net/http"

	"github.com/thole-go/thole"
)

// DefaultRepeatable reports whether r may be sent more than once without doing its work
// twice: by a method that is idempotent (RFC 9110, section 9.2.2), or, as net/http has it
// for its own replays, because it carries an Idempotency-Key or X-Idempotency-Key header.
func DefaultRepeatable(r *http.Request) bool {
	switch r.Method {
	case "", http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace,
		http.MethodPut, http.MethodDelete:
		return true
	}
	return has(r.Header, "Idempotency-Key") || has(r.Header, "X-Idempotency-Key")
}

// has reports whether h has the key, which must be in its canonical form, be its list of
// values empty.
func has(h http.Header, key string) bool {
	_, ok := h[key]
	return ok
}

// single reports whether r can be sent only once, however idempotent it is: the caller
// fills in trailers while the body is read, and what follows an upgrade or CONNECT, and to
// wait for leave to send the body, belong to one connection.
func single(r *http.Request) bool {
	return len(r.Trailer) > 0 || r.Method == http.MethodConnect ||
		has(r.Header, "Expect") || has(r.Header, "Upgrade")
}

// mayRepeat reports whether r may be sent more than once.
func (t *Transport) mayRepeat(r *http.Request) bool {
	if !thole.Repeatable(r.Context()) || single(r) {
		return false
	}
	if t.cfg.Repeatable != nil {
		return t.cfg.Repeatable(r)
	}
	return DefaultRepeatable(r)
}
