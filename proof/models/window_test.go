package models

import (
	"fmt"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole/ratelimit"
)

// exactWindow returns the rule of the exact window: less than limit in any window's length.
func exactWindow(limit int, window time.Duration) func([]taking, int, time.Duration) time.Duration {
	fits := func(taken []taking, n int, at time.Duration) bool {
		for _, t := range taken {
			if t.at > at-window {
				n += t.n
			}
		}
		return n <= limit
	}
	return func(taken []taking, n int, from time.Duration) time.Duration {
		for at := from; ; at += ms { // windows are whole milliseconds, and so are all times
			if fits(taken, n, at) {
				return at
			}
		}
	}
}

// estimatedWindow returns the rule of the two-bucket estimate: the calls of the current part
// of a grid, and so much of those of the part before as the window still covers.
func estimatedWindow(limit int, window time.Duration) func([]taking, int, time.Duration) time.Duration {
	count := func(taken []taking, part time.Duration) (n int) {
		for _, t := range taken {
			if t.at/window == part {
				n += t.n
			}
		}
		return n
	}
	return func(taken []taking, n int, from time.Duration) time.Duration {
		for {
			part := from / window
			end := (part + 1) * window
			previous, current := count(taken, part-1), count(taken, part)
			room := limit - current - n
			if room >= 0 {
				// previous × (end − at) / window ≤ room
				at := from
				if previous > 0 {
					at = max(from, end-time.Duration(room)*window/time.Duration(previous))
				}
				if at < end {
					return at
				}
			}
			from = end
		}
	}
}

func TestModel_slidingWindow(t *testing.T) {
	for _, exact := range []bool{true, false} {
		t.Run(fmt.Sprintf("exact=%v", exact), func(t *testing.T) {
			inBubble(t, func(rt *rapid.T) { windowLife(rt, exact) })
		})
	}
}

func windowLife(rt *rapid.T, exact bool) {
	limit := rapid.IntRange(1, 8).Draw(rt, "Limit")
	window := millis(rt, 1, 40, "Window")
	m := &limiterModel{first: estimatedWindow(limit, window)}
	if exact {
		m.first = exactWindow(limit, window)
	}
	w := ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Limit: limit, Window: window, Exact: exact})
	actions, end := lifeOfLimiter(w, m, limit)
	defer end()
	rt.Repeat(actions)
	bound := limit
	if !exact {
		bound = max(1, 2*limit-1)
	}
	for i := range m.taken {
		sum := 0
		for _, t := range m.taken[i:] {
			if t.at < m.taken[i].at+window {
				sum += t.n
			}
		}
		if sum > bound {
			rt.Fatalf("%d tokens in one window, which allows %d", sum, bound)
		}
	}
}
