package models

import (
	"context"
	"errors"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole/bulkhead"
)

// bulkheadModel is a list of those who wait and a number of permits in use.
type bulkheadModel struct {
	cfg     bulkhead.Config
	now     time.Duration
	inUse   int
	waiting []*holder
}

// holder is a caller: of the model, and of the bulkhead.
type holder struct {
	n     int
	since time.Duration

	ended bool // in the model: with that error, or nil
	err   error

	cancel  context.CancelFunc
	got     chan error // of the bulkhead
	release func()
}

func (m *bulkheadModel) end(h *holder, err error) {
	h.ended, h.err = true, err
	if err == nil {
		m.inUse += h.n
	}
}

func (m *bulkheadModel) acquire(h *holder) {
	switch {
	case h.n > m.cfg.Limit:
		m.end(h, bulkhead.ErrWeight)
	case len(m.waiting) == 0 && m.inUse+h.n <= m.cfg.Limit:
		m.end(h, nil)
	case m.cfg.MaxWaiting >= 0 && len(m.waiting) >= m.cfg.MaxWaiting:
		m.end(h, bulkhead.ErrFull)
	default:
		h.since = m.now
		m.waiting = append(m.waiting, h)
	}
}

// serve lets the first in line in as long as there is room, and sends away whose time is over.
func (m *bulkheadModel) serve() {
	for len(m.waiting) > 0 {
		first := m.waiting[0]
		switch {
		case m.inUse+first.n <= m.cfg.Limit:
			m.end(first, nil)
		case m.cfg.MaxWait > 0 && m.now >= first.since+m.cfg.MaxWait:
			m.end(first, bulkhead.ErrWait)
		default:
			return
		}
		m.waiting = m.waiting[1:]
	}
}

func (m *bulkheadModel) release(h *holder) {
	m.inUse -= h.n
	m.serve()
}

func (m *bulkheadModel) cancel(h *holder) {
	if i := slices.Index(m.waiting, h); i >= 0 {
		m.waiting = slices.Delete(m.waiting, i, i+1)
		m.end(h, context.Canceled)
		m.serve()
	}
}

func (m *bulkheadModel) sleep(d time.Duration) {
	for until := m.now + d; m.now < until; m.serve() {
		next := until
		if len(m.waiting) > 0 && m.cfg.MaxWait > 0 {
			next = min(until, m.waiting[0].since+m.cfg.MaxWait)
		}
		m.now = max(m.now, next)
	}
}

func (m *bulkheadModel) reconfigure(cfg bulkhead.Config) {
	if m.cfg.MaxWait == 0 { // nobody has looked at the clock for them
		for _, h := range m.waiting {
			h.since = m.now
		}
	}
	m.cfg = cfg
	m.waiting = slices.DeleteFunc(m.waiting, func(h *holder) bool {
		if h.n > cfg.Limit {
			m.end(h, bulkhead.ErrWeight)
		}
		return h.ended
	})
	m.serve()
}

func drawBulkheadConfig(rt *rapid.T) bulkhead.Config {
	return bulkhead.Config{
		Limit:      rapid.IntRange(1, 6).Draw(rt, "Limit"),
		MaxWaiting: rapid.IntRange(-1, 8).Draw(rt, "MaxWaiting"),
		MaxWait:    millis(rt, 0, 40, "MaxWait"),
	}
}

func TestModel_bulkhead(t *testing.T) { inBubble(t, bulkheadLife) }

func bulkheadLife(rt *rapid.T) {
	cfg := drawBulkheadConfig(rt)
	b, m := bulkhead.New(cfg), &bulkheadModel{cfg: cfg}
	var callers, inside []*holder
	defer func() { // also where a case has failed: the bubble must be left empty
		for _, h := range callers {
			h.cancel()
			if <-h.got == nil {
				h.release()
			}
		}
		if b.InUse() {
			panic("permits are missing in the end")
		}
	}()
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			synctest.Wait()
			inside = nil
			for _, h := range callers {
				equal(rt, h.ended, len(h.got) == 1, "a caller's wait has ended")
				if !h.ended {
					continue
				}
				err := <-h.got
				h.got <- err
				if !errors.Is(err, h.err) || h.err == nil && err != nil {
					rt.Fatalf("a caller of weight %d: the model says %v, the bulkhead %v", h.n, h.err, err)
				}
				if h.err == nil && h.release != nil {
					inside = append(inside, h)
				}
			}
			s := b.Stats()
			equal(rt, m.inUse, s.InUse, "in use")
			equal(rt, len(m.waiting), s.Waiting, "waiting")
		},
		"acquire": func(rt *rapid.T) {
			h := &holder{n: rapid.SampledFrom([]int{1, 1, 1, 2, 3, 7}).Draw(rt, "n"), got: make(chan error, 1)}
			var ctx context.Context
			ctx, h.cancel = context.WithCancel(context.Background())
			callers = append(callers, h)
			m.acquire(h)
			go func() {
				release, err := b.AcquireN(ctx, h.n)
				h.release = release
				h.got <- err
			}()
		},
		"try": func(rt *rapid.T) {
			release, ok := b.TryAcquire()
			release()
			equal(rt, len(m.waiting) == 0 && m.inUse < m.cfg.Limit, ok, "TryAcquire")
		},
		"release": func(rt *rapid.T) {
			if len(inside) == 0 {
				return
			}
			h := rapid.SampledFrom(inside).Draw(rt, "whose")
			callers = slices.DeleteFunc(callers, func(c *holder) bool { return c == h })
			m.release(h)
			h.release()
			h.release() // twice is harmless
			h.cancel()
		},
		"cancel": func(rt *rapid.T) {
			if len(m.waiting) > 0 {
				h := rapid.SampledFrom(m.waiting).Draw(rt, "whose")
				m.cancel(h)
				h.cancel()
			}
		},
		"sleep": func(rt *rapid.T) {
			d := millis(rt, 0, 15, "for")
			m.sleep(d)
			time.Sleep(d)
		},
		"reconfigure": func(rt *rapid.T) {
			cfg := drawBulkheadConfig(rt)
			m.reconfigure(cfg)
			if err := b.Reconfigure(cfg); err != nil {
				rt.Fatal(err)
			}
		},
	})
}
