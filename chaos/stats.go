package chaos

import (
	"time"

	"github.com/thole-go/thole"
)

// Stats is a snapshot of a [Chaos]. Calls made while it was off are not counted.
type Stats struct {
	Enabled bool
	Left    time.Duration // until it ends by itself; 0 if never, or if it is off

	Calls    int // while on
	Rejected int // of them, those that were refused
	Errors   int // those that got an injected error
	Panics   int // those that got an injected panic
	Delayed  int // those that were delayed, whatever came then
}

// Stats returns a snapshot.
func (c *Chaos) Stats() Stats {
	left, on := c.left()
	return Stats{
		Enabled:  on,
		Left:     left,
		Calls:    int(c.calls.Load()),
		Rejected: int(c.rejected.Load()),
		Errors:   int(c.failed.Load()),
		Panics:   int(c.panicked.Load()),
		Delayed:  int(c.delayed.Load()),
	}
}

// InUse reports whether faults are on: thole.Keyed does not forget it then.
func (c *Chaos) InUse() bool { return c.Enabled() }

// Describe tells the configuration in force. Its first setting is "ENABLED" while faults are
// on, with the time left; else "Enabled", "false".
func (c *Chaos) Describe() thole.Description {
	s := c.settings.Load()
	d := thole.Description{Kind: "chaos", Name: s.Name, Blocking: true}
	left, on := c.left()
	switch {
	case !on:
		d.Settings = []thole.Setting{{Key: "Enabled", Value: "false"}}
	case left == 0:
		d.Settings = []thole.Setting{{Key: "ENABLED", Value: "until disabled"}}
	default:
		d.Settings = []thole.Setting{{Key: "ENABLED", Value: "for another " + left.String()}}
	}
	s.describe(&d)
	if !on {
		d.MaxWait = 0
	}
	return d
}

// String returns "chaos", or "chaos[name]".
func (c *Chaos) String() string { return c.Describe().String() }
