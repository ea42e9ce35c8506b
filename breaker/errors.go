package breaker

import (
	"time"

	"github.com/thole-go/thole"
)

// ErrOpen is matched, through errors.Is, by the error of each call that a breaker refused:
// because it is open, isolated, half-open with all its probes out, or ramping up. Such an
// error matches [thole.ErrRejected] too.
var ErrOpen = thole.Rejection(thole.ReasonOpen, "breaker: open")

// OpenError is the error of a call that a breaker refused. It matches [ErrOpen] and
// [thole.ErrRejected]. One value serves every refusal of a breaker for the same reason.
type OpenError struct {
	Name string // the breaker's name, from its Config

	reason  thole.Reason
	breaker *Breaker
}

// Error names the breaker and says why it refused.
func (e *OpenError) Error() string {
	text := "breaker"
	if e.Name != "" {
		text += "[" + e.Name + "]"
	}
	return text + ": " + string(e.reason)
}

// Is reports whether target is ErrOpen or thole.ErrRejected.
func (e *OpenError) Is(target error) bool {
	return target == ErrOpen || target == thole.ErrRejected
}

// Reason is [thole.ReasonIsolated] if the breaker had been isolated when it refused the
// call, else [thole.ReasonOpen].
func (e *OpenError) Reason() thole.Reason { return e.reason }

// RetryAfter tells how long from now a call may be let through, at the earliest:
//
//   - open or isolated: the time left of that. Of an isolation until Reset no end is known,
//     and it is MaxOpenFor.
//   - half-open with all probes out: until the first of their places expires, and not longer
//     than the circuit was open. Mostly a probe ends before that.
//   - ramping up: a tenth of RampUp, or what is left of it.
//
// It is 0 when a call would be admitted now.
func (e *OpenError) RetryAfter() time.Duration {
	if e.breaker == nil { // somebody's own value, in a test
		return 0
	}
	return e.breaker.retryAfter()
}
