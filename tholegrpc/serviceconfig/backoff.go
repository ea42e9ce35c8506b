package serviceconfig

import (
	"math"
	"math/rand/v2"
	"time"

	"github.com/cenkalti/backoff/v4"
)

// schedule returns gRPC's delays: grown by a factor, bounded, and up to a fifth more or less.
func schedule(initial, max time.Duration, factor float64) func() backoff.BackOff {
	return func() backoff.BackOff {
		return &delays{initial: float64(initial), max: float64(max), factor: factor}
	}
}

type delays struct {
	initial, max, factor float64
	n                    int
}

func (d *delays) NextBackOff() time.Duration {
	v := min(d.initial*math.Pow(d.factor, float64(d.n)), d.max)
	d.n++
	return time.Duration(min(v*(0.8+0.4*rand.Float64()), float64(maxLimit)))
}

func (d *delays) Reset() { d.n = 0 }
