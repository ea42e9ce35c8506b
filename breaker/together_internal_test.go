package breaker

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func end(b *Breaker, err error) {
	_ = b.Do(context.Background(), func(context.Context) error { return err })
}

// What ends while Reconfigure is under way, and still sees the phase before, is not lost.
func TestBreaker_reconfigureLosesNoCallThatEndsMeanwhile(t *testing.T) {
	t.Run("a success ends the row", func(t *testing.T) {
		for name, to := range map[string]Config{
			"other size": {ConsecutiveFailures: 3, WindowCalls: 20, FailureRatio: 1},
			"other kind": {ConsecutiveFailures: 3, Window: time.Hour, FailureRatio: 1},
			"row alone":  {ConsecutiveFailures: 3},
		} {
			b := New(Config{ConsecutiveFailures: 3, WindowCalls: 10, FailureRatio: 1})
			end(b, errors.New("down"))
			end(b, errors.New("down"))
			before := b.phase.Load()
			require.NoError(t, b.Reconfigure(to))
			b.succeed(before, nil)
			end(b, errors.New("down"))
			assert.Equal(t, Closed, b.State(), name)
		}
	})
	t.Run("a success is among the last calls", func(t *testing.T) {
		b := New(Config{WindowCalls: 10})
		before := b.phase.Load()
		require.NoError(t, b.Reconfigure(Config{WindowCalls: 20}))
		b.succeed(before, nil)
		assert.Equal(t, 1, b.Stats().Calls)
	})
	t.Run("a failure makes the row full", func(t *testing.T) {
		b := New(Config{ConsecutiveFailures: 1, WindowCalls: 10, FailureRatio: 1})
		before := b.phase.Load()
		require.NoError(t, b.Reconfigure(Config{ConsecutiveFailures: 1}))
		b.failLast(before.gen, 0, before.row.note(true) >= 1)
		assert.Equal(t, Open, b.State())
	})
}
