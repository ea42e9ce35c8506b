package models

import (
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/thole-go/thole/ratelimit"
)

// The clock of a bubble stands still while anybody runs. So a history in one has few moments, each
// with several clients at once, and the model knows the time of each operation, whatever order it
// tries. What came first is told by a count of beginnings and ends.

const moments = 10

// quota is the state of a sliding window: what was taken at each moment, and the limit.
type quota struct {
	limit int
	taken [moments]int
}

// asking is an operation at a moment: of n tokens, or a change of the limit to n.
type asking struct {
	name   string
	n      int
	moment int
}

// quotaModel is the window's rule, by looking at all that was taken.
func quotaModel(exact bool, limit, window int, at *[moments]int) porcupine.Model {
	free := func(q quota, n, now int) bool {
		weight, current := 0, 0
		for i, taken := range q.taken {
			switch {
			case exact && at[i] > now-window && at[i] <= now, !exact && at[i]/window == now/window:
				current += taken
			case !exact && at[i]/window == now/window-1:
				weight += taken * (window - now%window)
			}
		}
		return current+n <= q.limit && weight+(current+n)*window <= q.limit*window
	}
	return porcupine.Model{
		Init: func() any { return quota{limit: limit} },
		Step: func(state, in, out any) (bool, any) {
			q, a := state.(quota), in.(asking)
			if a.name == "limit" {
				q.limit = a.n
				return true, q
			}
			ok := free(q, a.n, at[a.moment])
			if ok {
				q.taken[a.moment] += a.n
			}
			return ok == out.(bool), q
		},
	}
}

func TestLinearizable_slidingWindowAcrossItsParts(t *testing.T) {
	rounds := 600
	if testing.Short() {
		rounds = 150
	}
	pairs := 0
	for round := range rounds {
		rng := rand.New(rand.NewPCG(uint64(round), 0))
		exact, limit, window := round%3 == 0, 2+rng.IntN(10), 1+rng.IntN(20)
		var at [moments]int
		var ops []porcupine.Operation
		synctest.Test(t, func(*testing.T) {
			cfg := ratelimit.SlidingWindowConfig{Limit: limit, Window: time.Duration(window), Exact: exact}
			ops = windowHistory(cfg, rng, &at)
		})
		pairs += overlaps(ops)
		if porcupine.CheckOperationsTimeout(quotaModel(exact, limit, window, &at), ops, 20*time.Second) == porcupine.Illegal {
			for _, o := range ops {
				a := o.Input.(asking)
				t.Logf("%d: %4d to %4d at %d: %s %d = %v", o.ClientId, o.Call, o.Return, at[a.moment], a.name, a.n, o.Output)
			}
			t.Fatalf("round %d, exact %v, limit %d of %d: no order of these explains them", round, exact, limit, window)
		}
	}
	t.Logf("%d pairs of operations at the same time", pairs)
}

// windowHistory has some clients ask a window at each of some moments, and says when those were.
func windowHistory(cfg ratelimit.SlidingWindowConfig, rng *rand.Rand, at *[moments]int) []porcupine.Operation {
	l, start := ratelimit.NewSlidingWindow(cfg), time.Now()
	histories := make([][]porcupine.Operation, clients)
	var count atomic.Int64
	for moment := range moments {
		at[moment] = int(time.Since(start))
		var ready atomic.Int64
		var all sync.WaitGroup
		for c := range clients {
			rng := rand.New(rand.NewPCG(rng.Uint64(), 0))
			all.Go(func() {
				ready.Add(1)
				for i := 0; ready.Load() < int64(clients) && i < 10_000; i++ {
					// At the start line together.
				}
				for range 6 {
					a := asking{"allow", 1 + rng.IntN(2), moment}
					do := func() bool { return l.AllowN(a.n) }
					if c == 0 && rng.IntN(6) == 0 {
						changed := cfg
						changed.Limit = 1 + rng.IntN(12)
						a.name, a.n = "limit", changed.Limit
						do = func() bool { return l.Reconfigure(changed) == nil }
					}
					call := count.Add(1)
					ok := do()
					histories[c] = append(histories[c], porcupine.Operation{ClientId: c, Input: a, Call: call, Output: ok, Return: count.Add(1)})
				}
			})
		}
		all.Wait()
		time.Sleep(time.Duration(rng.IntN(int(2 * cfg.Window))))
	}
	var ops []porcupine.Operation
	for _, h := range histories {
		ops = append(ops, h...)
	}
	return ops
}
