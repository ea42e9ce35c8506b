package thole

import (
	"context"
	"time"
)

// Clock is a reading of the clock that the policies of a chain share. To read it costs 26 ns
// and more, which is most of what an admission policy costs, and neighbours that decide one
// after the other need no more than one reading between them.
//
// A Clock belongs to one call, and is used by one goroutine at a time. A nil Clock reads
// anew each time it is asked.
type Clock struct {
	base  time.Time
	now   time.Duration // since base
	known bool
}

// Since returns the time since t, by the shared reading.
func (c *Clock) Since(t time.Time) time.Duration {
	if c == nil {
		return time.Since(t)
	}
	if !c.known {
		c.now, c.known = time.Since(c.base), true
	}
	return c.now + c.base.Sub(t)
}

// Forget drops the reading. Whoever has let time pass calls it: after fn has run, after a wait.
func (c *Clock) Forget() {
	if c != nil {
		c.known = false
	}
}

// Err is ctx.Err(), but that a context which would have to look at the clock for it, such as
// that of a timeout, looks at the reading that there is.
func (c *Clock) Err(ctx context.Context) error {
	if c != nil && c.known {
		if l, ok := ctx.(interface {
			ErrBy(interface {
				Since(time.Time) time.Duration
			}) error
		}); ok {
			return l.ErrBy(c)
		}
	}
	return ctx.Err()
}

// Timed is an optional extension of [Policy], for one that reads the clock before it runs fn:
// retry and timeout are such. [Chain] then calls DoTimed, with the clock that all of the call's
// policies share.
//
// DoTimed(ctx, fn, nil) must be equal to Do(ctx, fn). Once fn has run, or it has waited, it calls
// Forget before it uses the clock or runs fn again: policies further in use the same clock.
type Timed interface {
	Policy
	DoTimed(ctx context.Context, fn func(context.Context) error, clock *Clock) error
}

// clockBase returns the moment that what is made now measures time from: so long past that the
// clock of a synctest bubble, which begins with the year 2000, is later. What is kept in a
// package variable then works in a test's bubble too.
func clockBase() time.Time { return time.Now().Add(-50 * 365 * 24 * time.Hour) }
