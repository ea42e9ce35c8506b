//go:build !race

package chaos_test

import (
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/chaos"
)

func TestChaos_allocations(t *testing.T) {
	over := chaos.New(chaos.Config{Faults: chaos.Faults{RejectRatio: 1}})
	over.Enable(1)
	time.Sleep(time.Millisecond)
	for name, c := range map[string]*chaos.Chaos{
		"off":        chaos.New(chaos.Config{Faults: chaos.Faults{RejectRatio: 1}}),
		"over":       over,
		"on, passes": enabled(chaos.Config{}),
		"on, rejects": enabled(chaos.Config{Key: thole.TargetFrom, Keys: map[string]chaos.Faults{
			"": {RejectRatio: 1},
		}}),
		"on, fails": enabled(chaos.Config{Faults: chaos.Faults{ErrorRatio: 1}}),
	} {
		ctx := t.Context()
		assert.Zero(t, testing.AllocsPerRun(1000, func() { _ = c.Do(ctx, nop) }), name)
	}
}
