package breaker_test

import (
	"context"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole/breaker"
)

// Whatever the interleaving, each call is counted once.
func TestBreaker_countsAreExactUnderConcurrency(t *testing.T) {
	const workers, each = 16, 2000
	for name, cfg := range map[string]breaker.Config{
		"window":     {Window: 24 * time.Hour, MinCalls: 1 << 30},
		"last calls": {WindowCalls: workers * each, MinCalls: workers * each, FailureRatio: 1},
		"slow calls": {Window: 24 * time.Hour, MinCalls: 1 << 30, FailureRatio: 1, SlowCall: time.Hour},
		"all slow":   {Window: 24 * time.Hour, MinCalls: 1 << 30, FailureRatio: 1, SlowCall: 1},
	} {
		t.Run(name, func(t *testing.T) {
			b := breaker.New(cfg)
			var wg sync.WaitGroup
			for range workers {
				wg.Go(func() {
					for i := range each {
						fn := up
						if i%4 == 0 {
							fn = down
						}
						_ = do(b, fn)
						if i%100 == 0 {
							s := b.Stats()
							if s.Failures > s.Calls || s.Slow > s.Calls+workers || s.Slow < 0 {
								t.Errorf("%+v", s)
							}
						}
					}
				})
			}
			wg.Wait()
			s := b.Stats()
			assert.Equal(t, workers*each, s.Calls)
			assert.Equal(t, workers*each/4, s.Failures)
			switch cfg.SlowCall {
			case time.Hour, 0:
				assert.Zero(t, s.Slow)
			default:
				assert.Equal(t, workers*each, s.Slow)
			}
		})
	}
}

// Calls that are about as slow as SlowCall, so that looks and leaves meet: none stays counted
// as in flight.
func TestBreaker_noCallStaysInFlight(t *testing.T) {
	b := breaker.New(breaker.Config{SlowCall: 20 * time.Microsecond, MinCalls: 1 << 30, Window: time.Millisecond})
	var wg sync.WaitGroup
	for range 40 {
		wg.Go(func() {
			for range 50 {
				_ = do(b, func(context.Context) error {
					for begin := time.Now(); time.Since(begin) < 15*time.Microsecond; {
					}
					return nil
				})
				b.State()
			}
		})
	}
	wg.Wait()
	time.Sleep(5 * time.Millisecond) // what has settled is forgotten
	s := b.Stats()
	assert.Zero(t, s.Slow)
}

// Changes of every kind at once: no deadlock, no race, and a breaker that works afterwards.
func TestBreaker_everythingAtOnce(t *testing.T) {
	slow := breaker.Config{SlowCall: time.Microsecond, MinCalls: 3, OpenFor: time.Microsecond, MaxOpenFor: 10 * time.Microsecond}
	configs := []breaker.Config{
		{ConsecutiveFailures: 3, OpenFor: time.Microsecond, MaxOpenFor: time.Microsecond},
		{MinCalls: 3, OpenFor: time.Microsecond, RampUp: time.Millisecond},
		{WindowCalls: 8, OpenFor: time.Microsecond, Probes: 3}, slow,
		{Window: time.Second, Shadow: true, MinCalls: 2},
	}
	b := breaker.New(configs[0])
	var wg sync.WaitGroup
	for w := range 8 {
		wg.Go(func() {
			for i := range 2000 {
				fn := up
				if (i/7+w)%2 == 0 {
					fn = down
				}
				err := do(b, fn)
				if open, ok := err.(*breaker.OpenError); ok {
					_ = open.RetryAfter()
				}
				switch i % 200 {
				case 20 * w:
					assert.NoError(t, b.Reconfigure(configs[(i/200+w)%len(configs)]))
				case 77:
					b.Isolate(time.Microsecond)
				case 78:
					b.Reset()
				case 79:
					b.Stats()
					b.InUse()
					_ = b.String()
				}
			}
		})
	}
	wg.Wait()
	assert.NoError(t, b.Reconfigure(configs[0]))
	b.Reset()
	times(3, b, down)
	assert.True(t, b.Stats().Opened > 0)
	b.Reset()
	assert.NoError(t, do(b, up))
}
