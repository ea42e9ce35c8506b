// Package clock says where the clocks of policies begin.
package clock

import "time"

// Headroom is how far back they begin.
const Headroom time.Duration = 50 * 365 * 24 * time.Hour

// Base returns the moment, long past, that a policy made now measures time from. Time since it
// is never negative, not even where the clock is that of a synctest bubble, which begins with
// the year 2000: so a policy in a package variable works in a test's bubble too. Each policy has
// a base of its own; that of a package would be outside of every bubble.
func Base() time.Time { return time.Now().Add(-Headroom) }
