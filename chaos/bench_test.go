package chaos_test

import (
	"context"
	"testing"
	"time"

	"github.com/thole-go/thole/chaos"
)

func BenchmarkChaos(b *testing.B) {
	some := chaos.Faults{ErrorRatio: 0.1, RejectRatio: 0.1}
	hour := chaos.New(chaos.Config{Faults: some})
	hour.Enable(time.Hour)
	for _, row := range []struct {
		name string
		c    *chaos.Chaos
	}{
		{"off", chaos.New(chaos.Config{Faults: some})},
		{"on", enabled(chaos.Config{Faults: some})},
		{"on for an hour", hour},
	} {
		b.Run(row.name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				_ = row.c.Do(context.Background(), nop)
			}
		})
	}
}
