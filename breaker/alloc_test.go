//go:build !race

package breaker_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

func TestBreaker_allocatesNothing(t *testing.T) {
	open := breaker.New(breaker.Config{ConsecutiveFailures: 1, OpenFor: time.Hour})
	times(1, open, down)
	isolated := breaker.New(breaker.Config{})
	isolated.Isolate(0)
	half := breaker.New(breaker.Config{ProbeTimeout: time.Hour})
	half.Isolate(1)
	time.Sleep(time.Microsecond)
	allow(t, half)

	for name, row := range map[string]struct {
		b  *breaker.Breaker
		fn func(context.Context) error
	}{
		"closed, consecutive":  {breaker.New(breaker.Config{ConsecutiveFailures: 5}), up},
		"closed, window":       {breaker.New(breaker.Config{}), up},
		"closed, last calls":   {breaker.New(breaker.Config{WindowCalls: 100}), up},
		"closed, slow calls":   {breaker.New(breaker.Config{SlowCall: time.Second}), up},
		"closed, failing":      {breaker.New(breaker.Config{MinCalls: 1 << 30, SlowCall: time.Second, FailureRatio: 1}), down},
		"closed, outcome hook": {breaker.New(breaker.Config{Outcome: thole.OutcomeOf}), up},
		"shadow":               {breaker.New(breaker.Config{Shadow: true}), up},
		"open, rejecting":      {open, up},
		"isolated, rejecting":  {isolated, up},
		"half-open, rejecting": {half, up},
	} {
		t.Run(name, func(t *testing.T) {
			ctx := context.Background()
			assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = row.b.Do(ctx, row.fn) }))
			assert.Zero(t, testing.AllocsPerRun(1000, func() {
				if ticket, err := row.b.Enter(ctx, nil); err == nil {
					row.b.Leave(ctx, ticket, nil, nil)
				}
			}))
		})
	}
}
