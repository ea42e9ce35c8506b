package models

import (
	"context"
	"errors"
	"slices"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole/ratelimit"
)

// taking is so many tokens taken, or promised, at a time since the limiter was made.
type taking struct {
	at time.Duration
	n  int
}

// limiterModel is a rate limiter as a list of takings and a line of those who wait.
type limiterModel struct {
	now   time.Duration
	taken []taking // by at
	line  []*waiter

	// first returns the first time from from on at which n tokens can be had if all in taken is.
	first func(taken []taking, n int, from time.Duration) time.Duration
}

// waiter is a caller of Wait: of the model, and of the limiter.
type waiter struct {
	n     int
	ended bool // in the model
	err   error
	got   chan error // of the limiter

	cancel context.CancelFunc
}

// plan returns the times at which those in line will be served if nothing else happens, and
// the takings with theirs.
func (m *limiterModel) plan() (times []time.Duration, all []taking) {
	from := m.now
	all = m.taken
	for _, w := range m.line {
		from = m.first(all, w.n, from)
		times = append(times, from)
		all = with(all, taking{from, w.n})
	}
	return times, all
}

// behind returns the first time at which a newcomer can have n tokens.
func (m *limiterModel) behind(n int) time.Duration {
	times, all := m.plan()
	from := m.now
	if len(times) > 0 {
		from = times[len(times)-1]
	}
	return m.first(all, n, from)
}

// advance serves those in line whose time comes.
func (m *limiterModel) advance(d time.Duration) {
	until := m.now + d
	for len(m.line) > 0 {
		times, _ := m.plan()
		if times[0] > until {
			break
		}
		m.now = times[0]
		m.taken = with(m.taken, taking{m.now, m.line[0].n})
		m.line[0].ended = true
		m.line = m.line[1:]
	}
	m.now = until
}

func (m *limiterModel) allow(n int) bool {
	if len(m.line) > 0 || m.behind(n) > m.now {
		return false
	}
	m.taken = with(m.taken, taking{m.now, n})
	return true
}

func (m *limiterModel) wait(w *waiter, last time.Duration) {
	switch at := m.behind(w.n); {
	case at > last:
		w.ended, w.err = true, ratelimit.ErrLimited
	default:
		m.line = append(m.line, w)
		m.advance(0)
	}
}

func (m *limiterModel) leave(w *waiter) {
	if i := slices.Index(m.line, w); i >= 0 {
		m.line = slices.Delete(m.line, i, i+1)
		w.ended, w.err = true, context.Canceled
		m.advance(0)
	}
}

// with returns the takings and one more, in the order of their times.
func with(taken []taking, t taking) []taking {
	i := len(taken)
	for i > 0 && taken[i-1].at > t.at {
		i--
	}
	return slices.Insert(slices.Clone(taken), i, t)
}

// limiter is what both kinds have in common.
type limiter interface {
	AllowN(n int) bool
	WaitN(ctx context.Context, n int) error
	Stats() ratelimit.Stats
}

// lifeOfLimiter returns the actions that both kinds have in common, and what must be called
// when the life ends.
func lifeOfLimiter(l limiter, m *limiterModel, most int) (actions map[string]func(*rapid.T), end func()) {
	var waiters []*waiter
	draw := func(rt *rapid.T) int { return rapid.IntRange(1, most).Draw(rt, "n") }
	end = func() {
		for _, w := range waiters {
			w.cancel()
			<-w.got
		}
	}
	actions = map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			synctest.Wait()
			for _, w := range waiters {
				equal(rt, w.ended, len(w.got) == 1, "a wait has ended")
				if !w.ended {
					continue
				}
				err := <-w.got
				w.got <- err
				if !errors.Is(err, w.err) || w.err == nil && err != nil {
					rt.Fatalf("a wait for %d: the model says %v, the limiter %v", w.n, w.err, err)
				}
			}
			equal(rt, len(m.line), l.Stats().Waiting, "waiting")
		},
		"allow": func(rt *rapid.T) {
			n := draw(rt)
			equal(rt, m.allow(n), l.AllowN(n), "allowed")
		},
		"too many": func(rt *rapid.T) {
			if err := l.WaitN(context.Background(), most+1); !errors.Is(err, ratelimit.ErrBurst) {
				rt.Fatalf("more than there can be: %v", err)
			}
		},
		"wait": func(rt *rapid.T) {
			w := &waiter{n: draw(rt), got: make(chan error, 1)}
			ctx, last := context.Background(), time.Duration(1<<62)
			ctx, w.cancel = context.WithCancel(ctx)
			if sometimes(rt, 3, "with a deadline") {
				// What comes with the deadline comes too late.
				d := millis(rt, 1, 60, "in")
				stop := w.cancel
				var cancel context.CancelFunc
				ctx, cancel = context.WithTimeout(ctx, d)
				w.cancel = func() { stop(); cancel() }
				last = m.now + d - 1
			}
			waiters = append(waiters, w)
			m.wait(w, last)
			go func() { w.got <- l.WaitN(ctx, w.n) }()
		},
		"leave": func(rt *rapid.T) {
			if len(m.line) > 0 {
				w := rapid.SampledFrom(m.line).Draw(rt, "who")
				m.leave(w)
				w.cancel()
			}
		},
		"sleep": func(rt *rapid.T) {
			d := millis(rt, 0, 25, "for")
			m.advance(d)
			time.Sleep(d)
		},
	}
	return actions, end
}
