package ratelimit

import (
	"fmt"
	"strconv"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// TokenBucketConfig configures a [TokenBucket]. Rate is required.
type TokenBucketConfig struct {
	_ [0]func()

	// Name tells the limiter from others, in errors and descriptions. Default none.
	Name string

	// Rate is how fast tokens come back. Required; at most 1 per nanosecond. Per(0, d)
	// denies all, Unlimited admits all.
	Rate Rate

	// Burst is how many tokens the bucket holds, and so how many can be taken at once after
	// a pause. 0 = 1. Filling an empty bucket must take less than 100 years; negative is refused.
	Burst int

	// MaxWait is how long Do (and Enter) may wait for the token. 0 = not at all; at most 100
	// years; negative = as long as the context allows. A call that would have to wait
	// longer is refused at once. Wait and WaitN heed the context alone.
	MaxWait time.Duration

	// Shadow lets every call through, at once, and counts what would have been refused. The
	// decisions are those of a limiter in force whose callers do as they are told. Default off.
	Shadow bool
}

// Validate tells what is wrong with the configuration, or returns nil.
func (c TokenBucketConfig) Validate() error {
	f := check.Of("ratelimit")
	c.Rate.check(f, c.Burst)
	checkMaxWait(f, c.MaxWait)
	return f.Err()
}

func checkMaxWait(f *check.Fields, d time.Duration) {
	f.Need(d <= check.MaxDuration, "MaxWait", d, fmt.Sprintf("0 (do not wait) to %d h, or negative (as long as the context allows)", int64(check.MaxDuration.Hours())))
}

func (c TokenBucketConfig) withDefaults() TokenBucketConfig {
	c.Burst = max(c.Burst, 1)
	return c
}

func (c TokenBucketConfig) describe() thole.Description {
	return thole.Description{
		Kind: "ratelimit",
		Name: c.Name,
		Settings: []thole.Setting{
			{Key: "Algorithm", Value: "token bucket"},
			{Key: "Rate", Value: c.Rate.String()},
			{Key: "Burst", Value: strconv.Itoa(c.Burst)},
			{Key: "MaxWait", Value: maxWaitString(c.MaxWait)},
			{Key: "Shadow", Value: strconv.FormatBool(c.Shadow)},
		},
		MaxWait:  shadowWait(c.MaxWait, c.Shadow),
		Blocking: true,
	}
}

// MaxExactLimit is the largest Limit of an exact [SlidingWindow]: it remembers 16 bytes for
// each admitted call of a window.
const MaxExactLimit = 1 << 20

// SlidingWindowConfig configures a [SlidingWindow]. Limit and Window are required.
type SlidingWindowConfig struct {
	_ [0]func()

	// Name tells the limiter from others, in errors and descriptions. Default none.
	Name string

	// Limit is how many tokens may be taken in a window. Required, at least 1; at most
	// MaxExactLimit if Exact.
	Limit int

	// Window is the length of the window. Required, at most 100 years.
	Window time.Duration

	// Exact remembers the time of every admitted call of a window, in up to 16 bytes × Limit,
	// and admits at most Limit in any interval of length Window. Default off: an estimate
	// from two counters, by which one interval may see up to 2 × Limit − 1.
	Exact bool

	// MaxWait is how long Do (and Enter) may wait for the token. 0 = not at all; at most 100
	// years; negative = as long as the context allows. A call that would have to wait
	// longer is refused at once. Wait and WaitN heed the context alone.
	MaxWait time.Duration

	// Shadow lets every call through, at once, and counts what would have been refused.
	// Since nobody is held back, a call that a limiter in force would have let wait counts as
	// refused. Default off.
	Shadow bool
}

// Validate tells what is wrong with the configuration, or returns nil.
func (c SlidingWindowConfig) Validate() error {
	f := check.Of("ratelimit")
	f.Need(c.Limit > 0, "Limit", c.Limit, "at least 1 (required)")
	f.Need(!c.Exact || c.Limit <= MaxExactLimit, "Limit", c.Limit, fmt.Sprintf("at most %d with Exact, which remembers each call", MaxExactLimit))
	f.Positive("Window", c.Window)
	checkMaxWait(f, c.MaxWait)
	return f.Err()
}

func (c SlidingWindowConfig) describe() thole.Description {
	algorithm := "sliding window, estimated"
	if c.Exact {
		algorithm = "sliding window, exact"
	}
	return thole.Description{
		Kind: "ratelimit",
		Name: c.Name,
		Settings: []thole.Setting{
			{Key: "Algorithm", Value: algorithm},
			{Key: "Limit", Value: strconv.Itoa(c.Limit)},
			{Key: "Window", Value: c.Window.String()},
			{Key: "MaxWait", Value: maxWaitString(c.MaxWait)},
			{Key: "Shadow", Value: strconv.FormatBool(c.Shadow)},
		},
		MaxWait:  shadowWait(c.MaxWait, c.Shadow),
		Window:   c.Window,
		Blocking: true,
	}
}

func maxWaitString(d time.Duration) string {
	if d < 0 {
		return "unbounded"
	}
	return d.String()
}

// shadowWait returns the longest wait in effect: a limiter in shadow makes nobody wait.
func shadowWait(d time.Duration, shadow bool) time.Duration {
	if shadow {
		return 0
	}
	return d
}
