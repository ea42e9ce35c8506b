package hedge

import (
	"fmt"
	"strconv"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/internal/quantile"
)

// Config configures a [Hedge]. The zero value is a sensible configuration.
type Config struct {
	_ [0]func()

	// Name tells this policy from others, in errors and in String. It may be empty.
	Name string

	// Delay is how long an attempt may take before another one starts, at most 100 years. If
	// Quantile is set too, it is the least delay, and the one in force until the quantile is
	// known. 0 means that Quantile alone decides.
	Delay time.Duration

	// Quantile is that of the latencies of recent successes after which another attempt
	// starts: about 1 - Quantile of all calls are hedged. At most 0.999. 0 means 0.95 if
	// Delay is 0 too, else that Delay alone decides.
	Quantile float64

	// MaxHedges is how many attempts may start beside the first, each after a further delay:
	// 0 means 1, at most 10.
	MaxHedges int

	// Budget bounds the load that hedges add. It may be shared with retries and other hedges
	// of the same destination. Nil means an own one of Ratio 0.05 and MinPerSecond 1;
	// thole.NoBudget means no bound.
	Budget *thole.Budget
}

const (
	defaultQuantile = 0.95
	maxHedges       = 10
)

// Validate returns an error that names each field with a value that is not allowed, or nil.
func (c Config) Validate() error {
	f := check.Of("hedge")
	f.Duration("Delay", c.Delay, "Quantile decides")
	f.Need(c.Quantile >= 0 && c.Quantile <= quantile.Max, "Quantile", c.Quantile,
		fmt.Sprintf("0 (%v if Delay is 0 too, else none) to %v", defaultQuantile, quantile.Max))
	f.Count("MaxHedges", c.MaxHedges, maxHedges, "1")
	return f.Err()
}

func (c Config) withDefaults() Config {
	if c.Quantile == 0 && c.Delay == 0 {
		c.Quantile = defaultQuantile
	}
	if c.MaxHedges == 0 {
		c.MaxHedges = 1
	}
	return c
}

// list returns the configuration for a description.
func (c Config) list() []thole.Setting {
	budget := "own, ratio 0.05, at least 1 a second"
	switch c.Budget {
	case nil:
	case thole.NoBudget:
		budget = "none"
	default:
		budget = "given"
	}
	return []thole.Setting{
		{Key: "Delay", Value: c.Delay.String()},
		{Key: "Quantile", Value: strconv.FormatFloat(c.Quantile, 'g', -1, 64)},
		{Key: "MaxHedges", Value: strconv.Itoa(c.MaxHedges)},
		{Key: "Budget", Value: budget},
	}
}
