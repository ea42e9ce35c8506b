//go:build !race

package timeout_test

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
)

func TestTimeout_allocations(t *testing.T) {
	policy := limit(time.Minute)
	soon, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	life, l := thole.WithLifetime(t.Context())
	done, stop := context.WithCancel(t.Context())
	stop()
	for _, row := range []struct {
		name string
		ctx  context.Context
		most float64
	}{
		{"fast fn", t.Context(), 1},
		{"the caller's deadline is sooner", soon, 0},
		{"done already", done, 0},
		{"with a lifetime", life, 3}, // one of them is Rewind's
	} {
		got := testing.AllocsPerRun(100, func() {
			_ = policy.Do(row.ctx, nop)
			l.Rewind(0)
		})
		assert.LessOrEqual(t, got, row.most, row.name)
	}
}
