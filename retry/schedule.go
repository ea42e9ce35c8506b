package retry

import (
	"fmt"
	"math"
	"math/rand/v2"
	"reflect"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole/internal/check"
)

// defaultSchedule is the schedule of a Config that names none.
func defaultSchedule() backoff.BackOff { return &climb{ladder: &defaultLadder, step: defaultBase} }

var defaultLadder = ladder{shape: fullJitter, base: defaultBase, max: defaultMax}

// Exponential doubles the delay from initial up to max, without jitter: initial, 2·initial,
// 4·initial … max. Clients that failed together come back together; prefer [FullJitter]
// unless there is but one client. It panics unless 0 < initial ≤ max ≤ 100 years.
func Exponential(initial, max time.Duration) func() backoff.BackOff {
	return newLadder("Exponential", "initial", exponential, initial, max)
}

// FullJitter draws the nth delay, counted from 0, uniformly from [0, v] with
// v = min(max, base·2ⁿ): the first is jittered too, and those at max keep their jitter. It
// spreads a herd best of all schedules; see "Exponential Backoff And Jitter", AWS Architecture
// Blog, 2015. It panics unless 0 < base ≤ max ≤ 100 years.
func FullJitter(base, max time.Duration) func() backoff.BackOff {
	return newLadder("FullJitter", "base", fullJitter, base, max)
}

// DecorrelatedJitter draws each delay uniformly from [base, 3·the delay before], the one
// before the first being base, and cuts it to max. It never waits less than base. Once the
// delays have grown to max, two draws in three are cut to it and the rest keep their spread;
// the formula is that of "Exponential Backoff And Jitter", AWS Architecture Blog, 2015. It
// panics unless 0 < base ≤ max ≤ 100 years.
func DecorrelatedJitter(base, max time.Duration) func() backoff.BackOff {
	return newLadder("DecorrelatedJitter", "base", decorrelated, base, max)
}

// Constant waits d before every retry, without jitter; Constant(0) retries at once. It
// panics unless 0 ≤ d ≤ 100 years.
func Constant(d time.Duration) func() backoff.BackOff {
	f := check.Of("retry: Constant")
	f.Duration("d", d, "no delay")
	if err := f.Err(); err != nil {
		panic(err.Error())
	}
	return (&ladder{shape: constant, base: d, max: d}).start
}

func newLadder(name, first string, s shape, base, max time.Duration) func() backoff.BackOff {
	f := check.Of("retry: " + name)
	f.Positive(first, base)
	f.Need(max >= base && max <= check.MaxDuration, "max", max,
		fmt.Sprintf("%s (%v) to %d h", first, base, int64(check.MaxDuration.Hours())))
	if err := f.Err(); err != nil {
		panic(err.Error())
	}
	return (&ladder{shape: s, base: base, max: max}).start
}

// shape is how delays grow and spread.
type shape uint8

const (
	constant shape = iota
	exponential
	fullJitter
	decorrelated
)

func (s shape) String() string {
	return [...]string{"constant", "exponential", "full jitter", "decorrelated jitter"}[s]
}

// ladder is the fixed part of a schedule, shared by all calls.
type ladder struct {
	shape     shape
	base, max time.Duration
}

// start makes the schedule of one call. A constant one has no state to keep apart.
func (l *ladder) start() backoff.BackOff {
	if l.shape == constant {
		return (*level)(l)
	}
	return &climb{ladder: l, step: l.base}
}

func (l *ladder) String() string {
	if l.shape == constant {
		return fmt.Sprintf("constant %v", l.base)
	}
	return fmt.Sprintf("%v from %v to %v", l.shape, l.base, l.max)
}

// longest returns the longest that n delays can take together.
func (l *ladder) longest(n int) time.Duration {
	growth := time.Duration(2)
	step := l.base
	if l.shape == decorrelated {
		growth, step = 3, l.times(l.base, 3)
	}
	var sum time.Duration
	for ; n > 0 && step < l.max; n-- {
		sum = min(sum+step, check.MaxDuration)
		step = l.times(step, growth)
	}
	if l.max > 0 && time.Duration(n) > (check.MaxDuration-sum)/l.max {
		return check.MaxDuration
	}
	return sum + time.Duration(n)*l.max
}

// times multiplies a delay, and stops at max.
func (l *ladder) times(d, factor time.Duration) time.Duration {
	if d > l.max/factor {
		return l.max
	}
	return d * factor
}

// ladderOf returns the ladder of a schedule made by this package, or nil. It is how a
// description knows the delays without calling a factory of the user's, which may count its
// calls. All of ours are the method value ladder.start, and so have one code pointer.
func ladderOf(f func() backoff.BackOff) *ladder {
	switch reflect.ValueOf(f).Pointer() {
	case reflect.ValueOf(defaultSchedule).Pointer():
		return &defaultLadder
	case reflect.ValueOf((&ladder{}).start).Pointer():
		switch b := f().(type) {
		case *level:
			return (*ladder)(b)
		case *climb:
			return b.ladder
		}
	}
	return nil
}

// level is a schedule whose delays are all the same.
type level ladder

func (l *level) NextBackOff() time.Duration { return l.base }
func (l *level) Reset()                     {}

// climb is one call's way up a ladder.
type climb struct {
	ladder *ladder
	step   time.Duration // in (0, max]
}

func (c *climb) Reset() { c.step = c.ladder.base }

func (c *climb) NextBackOff() time.Duration {
	l := c.ladder
	if l.shape == decorrelated {
		top := int64(math.MaxInt64)
		if c.step < math.MaxInt64/3 {
			top = 3 * int64(c.step)
		}
		c.step = min(l.max, l.base+time.Duration(rand.Int64N(top-int64(l.base)+1)))
		return c.step
	}
	v := c.step
	c.step = l.times(v, 2)
	if l.shape == fullJitter {
		v = time.Duration(rand.Int64N(int64(v) + 1))
	}
	return v
}
