package hedge_test

import (
	"context"
	"testing"
	"time"

	"github.com/thole-go/thole/hedge"
)

func nop(context.Context) error { return nil }

func BenchmarkHedge(b *testing.B) {
	for name, cfg := range map[string]hedge.Config{
		"none fired, delay":    {Delay: time.Minute},
		"none fired, quantile": {},
	} {
		b.Run(name, func(b *testing.B) {
			h := hedge.New(cfg)
			b.ReportAllocs()
			for b.Loop() {
				_ = h.Do(context.Background(), nop)
			}
		})
	}
	b.Run("floor: goroutine and channel", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			done := make(chan error, 1)
			go func() { done <- nop(context.Background()) }()
			<-done
		}
	})
}
