package chaos

import (
	"context"
	"maps"
	"math/rand/v2"
	"slices"
	"strconv"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// Config configures a [Chaos]. The zero value is valid and injects nothing.
type Config struct {
	_ [0]func()

	// Name tells this policy from others in errors and descriptions. It may be empty.
	Name string

	// Seed determines what happens to which call. 0 means one chosen at random by New, which
	// Describe tells; Reconfigure with 0 keeps the one in force.
	Seed uint64

	// Faults is what is injected into the calls whose key is not in Keys: into all calls if
	// Key is nil.
	Faults Faults

	// Key names the key of a call. It is called only while the policy is enabled, in the
	// caller's goroutine, outside every lock. nil means that calls have no key.
	Key func(context.Context) string

	// Keys is what is injected into the calls of certain keys, in place of Faults. The zero
	// Faults spares a key. Not without Key. The map is copied.
	Keys map[string]Faults
}

// Faults is what may happen to a call. A ratio is the share of calls to which it happens, 0
// (the default: none) to 1. Of RejectRatio, ErrorRatio and PanicRatio at most one strikes a
// call, so their sum is at most 1.
type Faults struct {
	_ [0]func()

	// RejectRatio is the share of calls that are refused, as by a policy further in.
	RejectRatio float64

	// ErrorRatio is the share of calls that fail without fn being run, as if fn had failed.
	ErrorRatio float64

	// Err is the error that injected errors wrap. nil means none but [ErrInjected], which
	// all of them match.
	Err error

	// PanicRatio is the share of calls that panic without fn being run, as if fn had. The
	// value is an [*Error].
	PanicRatio float64

	// DelayRatio is the share of calls that are delayed before what happens to them happens.
	DelayRatio float64

	// Delay is how long: at least this. 0 to 100 years.
	Delay time.Duration

	// MaxDelay makes the delays differ, evenly between Delay and MaxDelay. 0 means that all
	// are Delay; else not less than Delay, and at most 100 years.
	MaxDelay time.Duration
}

// Validate reports everything that is wrong with c, or nil.
func (c Config) Validate() error {
	f := check.Of("chaos")
	c.Faults.validate(f, "Faults.")
	f.Need(len(c.Keys) == 0 || c.Key != nil, "Key", "nil", "a function, because Keys is set")
	for _, key := range slices.Sorted(maps.Keys(c.Keys)) {
		c.Keys[key].validate(f, "Keys["+strconv.Quote(key)+"].")
	}
	return f.Err()
}

func (x Faults) validate(f *check.Fields, of string) {
	f.Ratio(of+"RejectRatio", x.RejectRatio, "none")
	f.Ratio(of+"ErrorRatio", x.ErrorRatio, "none")
	f.Ratio(of+"PanicRatio", x.PanicRatio, "none")
	f.Ratio(of+"DelayRatio", x.DelayRatio, "none")
	sum := x.RejectRatio + x.ErrorRatio + x.PanicRatio
	f.Need(!(sum > 1+rounding), of+"RejectRatio + ErrorRatio + PanicRatio", sum, "at most 1: one call suffers one of them")
	f.Duration(of+"Delay", x.Delay, "none")
	f.Need(x.MaxDelay == 0 || x.MaxDelay >= x.Delay && x.MaxDelay <= check.MaxDuration, of+"MaxDelay", x.MaxDelay,
		"0 (all delays are Delay), or Delay to 876000 h")
	f.Need(x.DelayRatio == 0 || x.Delay > 0 || x.MaxDelay > 0, of+"Delay", x.Delay, "more than 0, because DelayRatio is set")
}

// rounding forgives sums such as 0.1+0.2+0.7, which is a hair more than 1.
const rounding = 1e-9

// settings is a Config in force, with what is derived from it.
type settings struct {
	Config
	rest *lane // the calls without a key of their own
	keys map[string]*lane
}

// newSettings makes the settings of c. What old knows of the calls' numbers lives on.
func newSettings(c Config, old *settings) *settings {
	if c.Seed == 0 {
		if old != nil {
			c.Seed = old.Seed
		} else {
			c.Seed = rand.Uint64()
		}
	}
	if old == nil {
		old = &settings{}
	}
	c.Keys = maps.Clone(c.Keys)
	s := &settings{Config: c, rest: newLane(c, "", c.Faults, old.rest), keys: make(map[string]*lane, len(c.Keys))}
	for key, faults := range c.Keys {
		s.keys[key] = newLane(c, key, faults, old.keys[key])
	}
	return s
}

// laneOf returns the lane of ctx's key.
func (s *settings) laneOf(ctx context.Context) *lane {
	if s.Key == nil {
		return s.rest
	}
	if l, ok := s.keys[s.Key(ctx)]; ok {
		return l
	}
	return s.rest
}

// describe lists the faults, and for how long a call may be delayed.
func (s *settings) describe(d *thole.Description) {
	add := func(key, value string) { d.Settings = append(d.Settings, thole.Setting{Key: key, Value: value}) }
	add("Seed", strconv.FormatUint(s.Seed, 10))
	d.MaxWait = s.Faults.describe("", add)
	for _, key := range slices.Sorted(maps.Keys(s.Keys)) {
		x := s.Keys[key]
		of := "Keys[" + strconv.Quote(key) + "]."
		d.MaxWait = max(d.MaxWait, x.describe(of, add))
	}
}

func (x Faults) describe(of string, add func(key, value string)) (longest time.Duration) {
	for _, r := range []struct {
		name  string
		ratio float64
	}{{"RejectRatio", x.RejectRatio}, {"ErrorRatio", x.ErrorRatio}, {"PanicRatio", x.PanicRatio}, {"DelayRatio", x.DelayRatio}} {
		add(of+r.name, strconv.FormatFloat(r.ratio, 'g', -1, 64))
	}
	if x.DelayRatio == 0 {
		return 0
	}
	add(of+"Delay", x.Delay.String())
	add(of+"MaxDelay", max(x.Delay, x.MaxDelay).String())
	return max(x.Delay, x.MaxDelay)
}
