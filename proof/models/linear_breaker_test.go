package models

import (
	"context"
	"math"
	"math/bits"
	"math/rand/v2"
	"testing"
	"time"

	"github.com/anishathalye/porcupine"

	"github.com/thole-go/thole/breaker"
)

// judged is the state of a breaker that opens by the ratio of failures, and that only Reset closes.
type judged struct {
	open       bool
	generation int
	size       int    // of the window
	n          int    // calls in it
	failed     uint64 // a bit for each of them, the newest the lowest
	admitted   [4]int // in which generation the client's call was
}

// end is when each success has been counted. One that could not open the circuit as it ended is counted
// without the lock; and a failure that opens it meanwhile, by the calls counted before, takes effect
// only when that is published. So the success may be counted later than it ended, and for nothing.
const end = math.MaxInt64

// ratioModel opens at three failures of five, from three calls on.
func ratioModel(size int) porcupine.Model {
	return porcupine.Model{
		Init: func() any { return judged{size: size} },
		Step: func(state, in, out any) (bool, any) {
			s, o := state.(judged), in.(op)
			switch o.name {
			case "allow":
				s.admitted[o.n] = s.generation
				return out.(bool) == !s.open, s
			case "success", "failure":
				if s.open || s.admitted[o.n] != s.generation {
					break
				}
				s.n, s.failed = min(s.n+1, s.size), s.failed<<1&(1<<s.size-1)
				if o.name == "failure" {
					s.failed |= 1
				}
				if s.n >= 3 && 5*bits.OnesCount64(s.failed) >= 3*s.n {
					s.open = true
					s.generation++
				}
			case "reset":
				s = judged{generation: s.generation + 1, size: s.size, admitted: s.admitted}
			case "size":
				s.size = o.n
				s.n, s.failed = min(s.n, s.size), s.failed&(1<<s.size-1)
			}
			return true, s
		},
	}
}

// checkRatio keeps the histories short and the clients few. As the end of a success is open, the orders
// to be tried double with each: with four clients and 15 steps some histories took the checker minutes.
func checkRatio(t *testing.T, size int, first breaker.Config, config func(size int) breaker.Config) {
	checkHistories(t, ratioModel(size), min(clients, 3), 10, func() func(*history, *rand.Rand) {
		b := breaker.New(first)
		return func(h *history, rng *rand.Rand) {
			switch c := h.client; {
			case rng.IntN(5) == 0:
				h.record(op{"reset", 0}, func() any { b.Reset(); return true })
			case config != nil && rng.IntN(8) == 0:
				size := 3 + rng.IntN(6)
				h.record(op{"size", size}, func() any { return b.Reconfigure(config(size)) == nil })
			default:
				var done func(error)
				h.record(op{"allow", c}, func() any {
					var err error
					done, err = b.Allow(context.Background())
					return err == nil
				})
				if done == nil {
					return
				}
				name, err := "success", error(nil)
				if rng.IntN(2) == 0 {
					name, err = "failure", errFailed
				}
				h.record(op{name, c}, func() any { done(err); return true })
				if name == "success" {
					h.ops[len(h.ops)-1].Return = end
				}
			}
		}
	})
}

func TestLinearizable_breakerOfTheLastCalls(t *testing.T) {
	config := func(size int) breaker.Config {
		return breaker.Config{FailureRatio: 0.6, MinCalls: 3, WindowCalls: size, OpenFor: time.Hour}
	}
	checkRatio(t, 5, config(5), nil)
	checkRatio(t, 5, config(5), config) // reconfigured meanwhile
}

func TestLinearizable_breakerOfATime(t *testing.T) {
	checkRatio(t, 63, breaker.Config{FailureRatio: 0.6, MinCalls: 3, Window: 24 * time.Hour, OpenFor: time.Hour}, nil)
}
