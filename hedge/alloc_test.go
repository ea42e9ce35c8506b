//go:build !race

package hedge_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

func TestHedge_allocations(t *testing.T) {
	done, cancel := context.WithCancel(t.Context())
	cancel()
	for _, row := range []struct {
		name string
		ctx  context.Context
		fn   func(context.Context) error
		most float64
	}{
		{"done already", done, nop, 0},
		{"Once", thole.Once(t.Context()), nop, 0},
		{"answers at once", t.Context(), nop, 4},
		{"waits", t.Context(), func(context.Context) error { time.Sleep(time.Microsecond); return nil }, 6}, // the sleep is one
	} {
		h := hedge.New(hedge.Config{Delay: time.Minute, Quantile: 0.95})
		got := testing.AllocsPerRun(200, func() { _ = h.Do(row.ctx, row.fn) })
		assert.LessOrEqual(t, got, row.most, row.name)
	}
}
