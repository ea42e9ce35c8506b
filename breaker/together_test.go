package breaker_test

import (
	"context"
	"math/rand/v2"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/breaker"
)

// The clock of a bubble stands still while anybody runs. So however many calls end together, in
// whatever order: one failure less than the threshold keeps the circuit closed, and with one more
// it opens. No count is lost, though each is one of eight words, and though failures use again the
// calls that others have counted.
func TestBreaker_rule12_thresholdIsExactWhereManyCallsEndTogether(t *testing.T) {
	for seed := range uint64(40) {
		bubble(t, func(t *testing.T) {
			rng := rand.New(rand.NewPCG(seed, 0))
			quarters := 1 + rng.IntN(3) // of the calls that may fail
			least := 1 + rng.IntN(4000)
			b := breaker.New(breaker.Config{FailureRatio: float64(quarters) / 4, MinCalls: least, Window: 32 * time.Second})
			successes, failures := 0, 0
			var all sync.WaitGroup
			together := func(fn func(context.Context) error, calls int) {
				for part := range 8 {
					all.Go(func() {
						for range (calls + part) / 8 {
							_ = do(b, fn)
						}
					})
				}
			}
			for range 12 {
				more := rng.IntN(400)
				together(up, more)
				successes += more
				all.Wait()
				// At most one failure less than are enough.
				most := max((quarters*successes+3-quarters)/(4-quarters)-1-failures, 0)
				fail, extra := rng.IntN(most+1), rng.IntN(200)
				if rng.IntN(3) == 0 {
					fail = most
				}
				together(down, fail)
				together(up, extra)
				failures, successes = failures+fail, successes+extra
				all.Wait()
				require.Equal(t, breaker.Closed, b.State(), "%d of %d", failures, failures+successes)
				s := b.Stats()
				assert.Equal(t, failures+successes, s.Calls)
				assert.Equal(t, failures, s.Failures)
				time.Sleep(time.Duration(rng.IntN(2)) * time.Second)
			}
			for opened := false; !opened; {
				_ = do(b, down)
				failures++
				calls := failures + successes
				opened = calls >= least && 4*failures >= quarters*calls
				require.Equal(t, opened, b.State() == breaker.Open, "%d of %d", failures, calls)
			}
		})
	}
}
