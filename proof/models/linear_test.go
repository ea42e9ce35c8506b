package models

import (
	"context"
	"errors"
	"math/bits"
	"math/rand/v2"
	"runtime"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/ratelimit"
)

// op is one operation of a history; which of the numbers mean what is each model's matter.
type op struct {
	name string
	n    int
}

// history records what one of several goroutines does, on the real clock.
type history struct {
	client int
	base   time.Time
	ops    []porcupine.Operation
}

func (h *history) record(in op, do func() any) {
	call := time.Since(h.base)
	out := do()
	end := time.Since(h.base)
	h.ops = append(h.ops, porcupine.Operation{ClientId: h.client, Input: in, Call: int64(call), Output: out, Return: int64(end)})
}

// clients is how many goroutines there are. More than processors would only take turns.
var clients = min(4, max(2, runtime.GOMAXPROCS(0)))

// checkHistories has some clients do steps operations each, again and again, and checks that
// each history is one that the model could have had with one operation at a time.
func checkHistories(t *testing.T, model porcupine.Model, clients, steps int, begin func() func(h *history, rng *rand.Rand)) {
	rounds, pairs := 400, 0
	if testing.Short() {
		rounds = 100
	}
	began := time.Now()
	// On a machine that is busy with other things little happens at the same time: go on for a
	// while until enough has.
	for round := 0; round < rounds || pairs < rounds && time.Since(began) < 5*time.Second; round++ {
		ops := oneHistory(clients, steps, uint64(round), begin())
		pairs += overlaps(ops)
		if porcupine.CheckOperationsTimeout(model, ops, 20*time.Second) == porcupine.Illegal {
			for _, o := range ops {
				t.Logf("%d: %6d to %6d %v = %v", o.ClientId, o.Call, o.Return, o.Input, o.Output)
			}
			t.Fatalf("round %d: no order of these explains them", round)
		}
	}
	t.Logf("%d pairs of operations at the same time", pairs)
}

func oneHistory(clients, steps int, seed uint64, step func(h *history, rng *rand.Rand)) []porcupine.Operation {
	histories := make([]history, clients)
	var wg sync.WaitGroup
	var ready atomic.Int64
	base := time.Now()
	for c := range clients {
		rng := rand.New(rand.NewPCG(seed, uint64(c)))
		h := &histories[c]
		h.client, h.base, h.ops = c, base, make([]porcupine.Operation, 0, 2*steps)
		wg.Go(func() {
			// Awake and at the start line together: the race is over within microseconds.
			ready.Add(1)
			for i := 0; ready.Load() < int64(clients); i++ {
				if i > 10_000 {
					runtime.Gosched()
				}
			}
			for range steps {
				step(h, rng)
			}
		})
	}
	wg.Wait()
	var ops []porcupine.Operation
	for _, h := range histories {
		ops = append(ops, h.ops...)
	}
	return ops
}

// overlaps returns how many pairs of operations were under way at the same time.
func overlaps(ops []porcupine.Operation) (n int) {
	for i, a := range ops {
		for _, b := range ops[:i] {
			if a.ClientId != b.ClientId && a.Call < b.Return && b.Call < a.Return {
				n++
			}
		}
	}
	return n
}

// room is the state of a bulkhead.
type room struct{ limit, inUse int }

func TestLinearizable_bulkhead(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return room{2, 0} },
		Step: func(state, in, out any) (bool, any) {
			s, o := state.(room), in.(op)
			switch o.name {
			case "try":
				if ok := s.inUse < s.limit; ok != out.(bool) {
					return false, s
				} else if ok {
					s.inUse++
				}
			case "release":
				s.inUse--
			case "limit":
				s.limit = o.n
			}
			return true, s
		},
	}
	checkHistories(t, model, clients, 50, func() func(*history, *rand.Rand) {
		b := bulkhead.New(bulkhead.Config{Limit: 2})
		held := make([][]func(), clients)
		return func(h *history, rng *rand.Rand) {
			switch mine := held[h.client]; {
			case h.client == 0 && rng.IntN(3) == 0:
				limit := 1 + rng.IntN(4)
				h.record(op{"limit", limit}, func() any { return b.Reconfigure(bulkhead.Config{Limit: limit}) == nil })
			case len(mine) > 0 && rng.IntN(2) == 0:
				h.record(op{"release", 1}, func() any { mine[0](); return true })
				held[h.client] = mine[1:]
			default:
				h.record(op{"try", 1}, func() any {
					release, ok := b.TryAcquire()
					if ok {
						held[h.client] = append(held[h.client], release)
					}
					return ok
				})
			}
		}
	})
}

// With a queue a permit is handed on; whoever has got one must have had room, and whoever was
// cancelled has taken nothing.
func TestLinearizable_bulkheadWithAQueue(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return room{3, 0} },
		Step: func(state, in, out any) (bool, any) {
			s, o := state.(room), in.(op)
			if o.name == "release" {
				s.inUse -= o.n
				return true, s
			}
			if !out.(bool) {
				return true, s
			}
			s.inUse += o.n
			return s.inUse <= s.limit, s
		},
	}
	checkHistories(t, model, 5, 6, func() func(*history, *rand.Rand) {
		b := bulkhead.New(bulkhead.Config{Limit: 3, MaxWaiting: -1})
		return func(h *history, rng *rand.Rand) {
			ctx, cancel := context.WithCancel(context.Background())
			defer cancel()
			if rng.IntN(3) == 0 {
				ctx, cancel = context.WithTimeout(ctx, time.Duration(rng.IntN(30))*time.Microsecond)
				defer cancel()
			}
			n := 1 + rng.IntN(3)
			var release func()
			var err error
			h.record(op{"acquire", n}, func() any { release, err = b.AcquireN(ctx, n); return err == nil })
			if err == nil {
				time.Sleep(time.Duration(rng.IntN(20)) * time.Microsecond)
				h.record(op{"release", n}, func() any { release(); return true })
			}
		}
	})
}

// Limiters whose tokens do not come back within the test are counters.
func TestLinearizable_limiters(t *testing.T) {
	const tokens = 40
	model := porcupine.Model{
		Init: func() any { return tokens },
		Step: func(state, in, out any) (bool, any) {
			left, o := state.(int), in.(op)
			if o.name == "cancel" {
				return true, left + o.n
			}
			ok := o.n <= left
			if ok {
				left -= o.n
			}
			return ok == out.(bool), left
		},
	}
	bucket := func() *ratelimit.TokenBucket {
		return ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour), Burst: tokens})
	}
	allow := func(allowN func(int) bool) func(h *history, rng *rand.Rand) {
		return func(h *history, rng *rand.Rand) {
			n := 1 + rng.IntN(2)
			h.record(op{"allow", n}, func() any { return allowN(n) })
		}
	}
	t.Run("token bucket", func(t *testing.T) {
		checkHistories(t, model, clients, 50, func() func(*history, *rand.Rand) { return allow(bucket().AllowN) })
	})
	for name, exact := range map[string]bool{"exact window": true, "estimated window": false} {
		t.Run(name, func(t *testing.T) {
			checkHistories(t, model, clients, 50, func() func(*history, *rand.Rand) {
				cfg := ratelimit.SlidingWindowConfig{Limit: tokens, Window: time.Hour, Exact: exact}
				return allow(ratelimit.NewSlidingWindow(cfg).AllowN)
			})
		})
	}
	// A reservation that has its tokens at once takes them, and gives them back on Cancel; one
	// that would have to wait is cancelled within the same operation, and has taken none.
	t.Run("reservations", func(t *testing.T) {
		checkHistories(t, model, clients, 50, func() func(*history, *rand.Rand) {
			b := bucket()
			var held []*ratelimit.Reservation
			return func(h *history, rng *rand.Rand) {
				if h.client > 0 {
					allow(b.AllowN)(h, rng)
					return
				}
				if len(held) > 0 && rng.IntN(2) == 0 {
					r := held[0]
					held = held[1:]
					h.record(op{"cancel", 1}, func() any { r.Cancel(); return true })
					return
				}
				h.record(op{"allow", 1}, func() any {
					r := b.Reserve(1)
					if r.Delay() > 0 {
						r.Cancel()
						return false
					}
					held = append(held, r)
					return true
				})
			}
		})
	})
}

// circuit is the state of a breaker that has been half-open and whose times are too long to
// end within the test. Calls are known by their number, those let in by the bits of in.
//
// What is counted while closed is left out: there a success may overtake a failure that is
// just opening the circuit, and neither waits for the other. That is meant, it is what makes a
// closed breaker cheap; the circuit is open when the failure's done returns.
type circuit struct {
	state  breaker.State
	in     [4]uint64 // of this generation
	streak int
}

const (
	probes         = 2
	probeSuccesses = 3
)

func (c circuit) to(s breaker.State) circuit { return circuit{state: s} }

func (c circuit) step(o op, out any) (bool, any) {
	word, bit := o.n/64, uint64(1)<<(o.n%64)
	switch o.name {
	case "allow":
		count := 0
		for _, w := range c.in {
			count += bits.OnesCount64(w)
		}
		ok := c.state == breaker.Closed || c.state == breaker.HalfOpen && count < probes
		if ok {
			c.in[word] |= bit
		}
		return ok == out.(bool), c
	case "state":
		return c.state == out.(breaker.State), c
	case "reset":
		return true, c.to(breaker.Closed)
	}
	if c.in[word]&bit == 0 { // of an earlier generation
		return true, c
	}
	c.in[word] &^= bit
	switch {
	case o.name == "ignored" || c.state == breaker.Closed:
	case o.name == "failure":
		return true, c.to(breaker.Open)
	default:
		if c.streak++; c.streak == probeSuccesses {
			return true, c.to(breaker.Closed)
		}
	}
	return true, c
}

func TestLinearizable_breakerHalfOpen(t *testing.T) {
	model := porcupine.Model{
		Init: func() any { return circuit{state: breaker.HalfOpen} },
		Step: func(state, in, out any) (bool, any) { return state.(circuit).step(in.(op), out) },
	}
	const steps = 60
	checkHistories(t, model, clients, steps, func() func(*history, *rand.Rand) {
		b := breaker.New(breaker.Config{
			ConsecutiveFailures: 1 << 20, Probes: probes, ProbeSuccesses: probeSuccesses,
			OpenFor: time.Hour, MaxOpenFor: time.Hour, ProbeTimeout: time.Hour,
		})
		b.Isolate(1)
		for b.State() != breaker.HalfOpen {
			time.Sleep(time.Microsecond)
		}
		type admitted struct {
			id   int
			done func(error)
		}
		held := make([][]admitted, clients)
		next := make([]int, clients)
		return func(h *history, rng *rand.Rand) {
			switch p := rng.IntN(12); {
			case p == 0:
				h.record(op{name: "state"}, func() any { return b.State() })
			case p == 1 && h.client == 0:
				h.record(op{name: "reset"}, func() any { b.Reset(); return true })
			case p < 7 && len(held[h.client]) > 0:
				a := held[h.client][0]
				held[h.client] = held[h.client][1:]
				o := []struct {
					name string
					err  error
				}{{"success", nil}, {"success", nil}, {"success", nil}, {"failure", errFailed}, {"ignored", thole.ErrRejected}}[rng.IntN(5)]
				h.record(op{o.name, a.id}, func() any { a.done(o.err); return true })
			default:
				id := h.client*steps + next[h.client]
				next[h.client]++
				h.record(op{"allow", id}, func() any {
					done, err := b.Allow(context.Background())
					if err == nil {
						held[h.client] = append(held[h.client], admitted{id, done})
					} else if !errors.Is(err, breaker.ErrOpen) {
						t.Error(err)
					}
					return err == nil
				})
			}
		}
	})
}
