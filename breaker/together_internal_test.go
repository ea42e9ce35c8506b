package breaker

import (
	"context"
	"errors"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func end(b *Breaker, err error) {
	_ = b.Do(context.Background(), func(context.Context) error { return err })
}

// Of successes that end together the one that makes MinCalls full opens the circuit, as if they had
// ended one after the other: those after it don't hide that half of the calls had failed.
func TestBreaker_rule12_successesThatEndTogetherAreJudgedOneByOne(t *testing.T) {
	for name, cfg := range map[string]Config{
		"last calls":             {MinCalls: 2, WindowCalls: 10},
		"time":                   {MinCalls: 2, Window: time.Hour},
		"last calls, slow calls": {MinCalls: 2, WindowCalls: 10, FailureRatio: 0.5, SlowCall: time.Hour},
		"time, slow calls":       {MinCalls: 2, Window: time.Hour, FailureRatio: 0.5, SlowCall: time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			b := New(cfg)
			end(b, errors.New("down"))
			require.Equal(t, Closed, b.State())
			b.mu.Lock() // so that they meet
			var all sync.WaitGroup
			var ended atomic.Int32
			for range 3 {
				all.Go(func() {
					_ = b.Do(context.Background(), func(context.Context) error { ended.Add(1); return nil })
				})
			}
			for i := 0; ended.Load() < 3 || i < 1000; i++ { // and a while for what comes after it
				runtime.Gosched()
			}
			b.mu.Unlock()
			all.Wait()
			assert.Equal(t, Open, b.State())
		})
	}
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
			b.succeed(before, nil, 0, false)
			end(b, errors.New("down"))
			assert.Equal(t, Closed, b.State(), name)
		}
	})
	t.Run("a success is among the last calls", func(t *testing.T) {
		b := New(Config{WindowCalls: 10})
		before := b.phase.Load()
		require.NoError(t, b.Reconfigure(Config{WindowCalls: 20}))
		b.succeed(before, nil, 0, false)
		assert.Equal(t, 1, b.Stats().Calls)
	})
	t.Run("a failure makes the row full", func(t *testing.T) {
		b := New(Config{ConsecutiveFailures: 1, WindowCalls: 10, FailureRatio: 1})
		before := b.phase.Load()
		require.NoError(t, b.Reconfigure(Config{ConsecutiveFailures: 1}))
		b.settleAlone(before.gen, 0, true, before.row.note(true) >= 1)
		assert.Equal(t, Open, b.State())
	})
}
