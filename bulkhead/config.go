package bulkhead

import (
	"math"
	"strconv"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// MaxLimit is the highest Limit that a bulkhead can have.
const MaxLimit = 1 << 30

// Config configures a [Bulkhead].
type Config struct {
	_ [0]func()

	// Name tells this bulkhead from others in errors and descriptions.
	Name string

	// Limit is how many permits there are: how many calls may be inside at once. Required, 1
	// to MaxLimit.
	Limit int

	// MaxWaiting is how many callers may wait for a permit. 0, the default, means none: a call
	// that finds no permit is refused at once. Negative means any number.
	MaxWaiting int

	// MaxWait is how long a caller waits for a permit at most. 0, the default, means as long
	// as its context allows. 0 to 100 years; negative is refused.
	MaxWait time.Duration

	// Shadow lets every call through. A call that finds no permit is counted (Stats.Shadowed)
	// and runs without one, at once: the queue is not rehearsed, since waiting is a delay too.
	Shadow bool
}

// Validate reports everything that is wrong with c, or nil.
func (c Config) Validate() error {
	f := check.Of("bulkhead")
	f.Need(c.Limit >= 1 && c.Limit <= MaxLimit, "Limit", c.Limit, "1 to "+strconv.Itoa(MaxLimit)+" (required)")
	f.Duration("MaxWait", c.MaxWait, "as long as the context allows")
	return f.Err()
}

// settings is a Config in force, with what is derived from it. It never changes, so that it
// can be read without a lock; Reconfigure puts another in its place.
type settings struct {
	Config
	places int64  // MaxWaiting, with any number as the largest
	full   *Error // the one value of each error that says nothing of its call
	wait   *Error
}

func newSettings(c Config) *settings {
	s := &settings{Config: c, places: int64(c.MaxWaiting)}
	if c.MaxWaiting < 0 {
		s.places = math.MaxInt64
	}
	s.full = &Error{Name: c.Name, is: ErrFull, reason: thole.ReasonFull, text: "full"}
	s.wait = &Error{Name: c.Name, is: ErrWait, reason: thole.ReasonWait, text: "no permit within MaxWait"}
	return s
}

// describe fills the description in.
func (s *settings) describe() thole.Description {
	d := thole.Description{Kind: "bulkhead", Name: s.Name, Blocking: true}
	add := func(key, value string) {
		d.Settings = append(d.Settings, thole.Setting{Key: key, Value: value})
	}
	add("Limit", strconv.Itoa(s.Limit))
	switch {
	case s.MaxWaiting < 0:
		add("MaxWaiting", "any number")
	default:
		add("MaxWaiting", strconv.Itoa(s.MaxWaiting))
	}
	switch {
	case s.MaxWaiting == 0:
	case s.MaxWait == 0:
		d.MaxWait = -1
		add("MaxWait", "as long as the context allows")
	default:
		d.MaxWait = s.MaxWait
		add("MaxWait", s.MaxWait.String())
	}
	if s.Shadow {
		d.MaxWait = 0
		add("Shadow", "true")
	}
	return d
}
