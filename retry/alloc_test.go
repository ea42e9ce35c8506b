//go:build !race

package retry_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

func TestAllocs(t *testing.T) {
	background := context.Background()
	cancellable, cancel := context.WithCancel(background)
	defer cancel()
	living, life := thole.WithLifetime(cancellable)
	defer life.End()
	ok := func(context.Context) error { return nil }
	runs := 0
	third := func(context.Context) error {
		if runs++; runs%3 != 0 {
			return errBoom
		}
		return nil
	}
	permanent := thole.Permanent(errBoom)
	rows := map[string]struct {
		cfg retry.Config
		ctx context.Context
		fn  func(context.Context) error
		max float64
	}{
		"first try":                 {retry.Config{}, background, ok, 0},
		"first try, cancellable":    {retry.Config{}, cancellable, ok, 0},
		"first try, lifetime":       {retry.Config{}, living, ok, 0},
		"first try, no budget":      {retry.Config{Budget: thole.NoBudget}, background, ok, 0},
		"first try, shared budget":  {retry.Config{Budget: thole.NewBudget(thole.BudgetConfig{})}, background, ok, 1},
		"not to be retried":         {retry.Config{}, background, func(context.Context) error { return permanent }, 1},
		"third try, no delay":       {retry.Config{Budget: thole.NoBudget, Backoff: retry.Constant(0)}, background, third, 2},
		"third try, jitter (1 ns)":  {retry.Config{Budget: thole.NoBudget, Backoff: retry.FullJitter(1, 1)}, background, third, 9},
		"given up, a single *Error": {retry.Config{MaxAttempts: 1}, background, func(context.Context) error { return errBoom }, 1},
	}
	for name, row := range rows {
		t.Run(name, func(t *testing.T) {
			r := retry.New(row.cfg)
			require.LessOrEqual(t, testing.AllocsPerRun(300, func() { _ = r.Do(row.ctx, row.fn) }), row.max)
		})
	}
}
