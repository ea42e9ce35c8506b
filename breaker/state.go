package breaker

// State is what a [Breaker] does with calls.
type State int8

const (
	// Closed: calls pass, and their outcomes are counted.
	Closed State = iota
	// Open: calls are refused.
	Open
	// HalfOpen: a few calls pass, to see whether the callee has recovered.
	HalfOpen
)

// String returns "closed", "open" or "half-open".
func (s State) String() string {
	switch s {
	case Closed:
		return "closed"
	case Open:
		return "open"
	case HalfOpen:
		return "half-open"
	}
	return "unknown"
}

// change is one change of state.
type change struct{ from, to State }
