package ratelimit

// Stats is a snapshot of a limiter. A call counts once, whatever number of tokens it took; one
// of no tokens does not count.
type Stats struct {
	// Admitted counts calls that got their tokens, by Allow, Wait, Reserve or Do.
	Admitted int

	// Rejected counts calls that did not get theirs; in Shadow they went ahead. A false Allow
	// or AllowN of a TokenBucket is not counted, since refusing there writes nothing (a
	// write would cost more than the decision), except in Shadow, where nobody else knows of it.
	Rejected int

	Waiting   int // calls in line now
	Available int // tokens that could be taken now if nobody waited and nothing was promised
	Promised  int // tokens of reservations whose time has not come; token bucket only
}
