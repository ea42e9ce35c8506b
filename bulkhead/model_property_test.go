package bulkhead_test

import (
	"context"
	"fmt"
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/bulkhead"
)

// model is what a bulkhead does, written down plainly: a list, and nothing at the same time
// as anything else.
type model struct {
	cfg     bulkhead.Config
	inUse   int
	waiting []*modelCall
	now     time.Duration
}

type modelCall struct {
	call  *call
	n     int
	since time.Duration
	held  int
	want  error // nil: admitted, or let through
	done  bool
}

func (m *model) end(c *modelCall, held int, err error) {
	c.done, c.held, c.want = true, held, err
	m.inUse += held
}

func (m *model) acquire(c *modelCall) {
	switch {
	case len(m.waiting) == 0 && m.inUse+c.n <= m.cfg.Limit:
		m.end(c, c.n, nil)
	case m.cfg.Shadow:
		m.end(c, 0, nil)
	case c.n > m.cfg.Limit:
		m.end(c, 0, bulkhead.ErrWeight)
	case m.cfg.MaxWaiting >= 0 && len(m.waiting) >= m.cfg.MaxWaiting:
		m.end(c, 0, bulkhead.ErrFull)
	default:
		c.since = m.now
		m.waiting = append(m.waiting, c)
	}
}

// settle admits the first waiters as long as they fit, and dismisses those whose time is over.
func (m *model) settle() {
	for len(m.waiting) > 0 {
		first := m.waiting[0]
		switch {
		case m.inUse+first.n <= m.cfg.Limit:
			m.end(first, first.n, nil)
		case m.cfg.MaxWait > 0 && m.now-first.since >= m.cfg.MaxWait:
			m.end(first, 0, bulkhead.ErrWait)
		default:
			return
		}
		m.waiting = m.waiting[1:]
	}
}

func (m *model) release(c *modelCall) {
	m.inUse -= c.held
	c.held = 0
	m.settle()
}

func (m *model) cancel(c *modelCall) {
	for i, w := range m.waiting {
		if w == c {
			m.waiting = append(m.waiting[:i:i], m.waiting[i+1:]...)
			m.end(c, 0, context.Canceled)
			m.settle()
			return
		}
	}
}

// sleep goes from one end of a MaxWait to the next: who goes then may let others in.
func (m *model) sleep(d time.Duration) {
	for until := m.now + d; ; {
		if len(m.waiting) == 0 || m.cfg.MaxWait == 0 || m.waiting[0].since+m.cfg.MaxWait > until {
			m.now = until
			return
		}
		m.now = max(m.now, m.waiting[0].since+m.cfg.MaxWait)
		m.settle()
	}
}

func (m *model) reconfigure(cfg bulkhead.Config) {
	timed := m.cfg.MaxWait > 0
	m.cfg = cfg
	var kept []*modelCall
	for _, c := range m.waiting {
		if !timed {
			c.since = m.now
		}
		switch {
		case cfg.Shadow:
			m.end(c, 0, nil)
		case c.n > cfg.Limit:
			m.end(c, 0, bulkhead.ErrWeight)
		default:
			kept = append(kept, c)
		}
	}
	m.waiting = kept
	m.settle()
}

func TestBulkhead_rule25_behavesAsTheModel(t *testing.T) {
	runs := 150
	if testing.Short() {
		runs = 30
	}
	for seed := range runs {
		synctest.Test(t, func(t *testing.T) { compareWithModel(t, rand.New(rand.NewPCG(uint64(seed), 1))) })
		if t.Failed() {
			t.Fatalf("seed %d", seed)
		}
	}
}

func randomConfig(r *rand.Rand) bulkhead.Config {
	return bulkhead.Config{
		Limit:      1 + r.IntN(6),
		MaxWaiting: []int{-1, -1, 0, 1, 3, 8}[r.IntN(6)],
		MaxWait:    []time.Duration{0, 5, 20, 20, 50}[r.IntN(5)] * time.Millisecond,
		Shadow:     r.IntN(12) == 0,
	}
}

func compareWithModel(t *testing.T, r *rand.Rand) {
	cfg := randomConfig(r)
	b, m := bulkhead.New(cfg), &model{cfg: cfg}
	var calls []*modelCall
	var log []string
	some := func() *modelCall { return calls[r.IntN(len(calls))] }
	for range 120 {
		op := r.IntN(100)
		switch {
		case op < 40 || len(calls) == 0:
			c := &modelCall{n: 1}
			if r.IntN(3) == 0 {
				c.n = 1 + r.IntN(7)
			}
			calls = append(calls, c)
			m.acquire(c)
			c.call = start(t.Context(), b, c.n)
			log = append(log, fmt.Sprintf("acquire %d", c.n))
		case op < 45:
			want := m.cfg.Shadow || len(m.waiting) == 0 && m.inUse < m.cfg.Limit
			release, ok := b.TryAcquire()
			require.Equal(t, want, ok, "TryAcquire after %v", log)
			release()
		case op < 72:
			if c := some(); c.done && c.want == nil {
				m.release(c) // perhaps for the second time
				c.call.release()
				log = append(log, "release")
			}
		case op < 82:
			c := some()
			m.cancel(c)
			c.call.cancel(nil)
			log = append(log, "cancel")
		case op < 94:
			d := time.Duration(r.IntN(12)) * time.Millisecond
			m.sleep(d)
			time.Sleep(d)
			log = append(log, "sleep "+d.String())
		default:
			cfg := randomConfig(r)
			m.reconfigure(cfg)
			require.NoError(t, b.Reconfigure(cfg))
			log = append(log, fmt.Sprintf("reconfigure %+v", cfg))
		}
		compare(t, b, m, calls, log)
	}
	for range calls { // each round lets out who got in by the last
		for _, c := range calls {
			c.call.cancel(nil)
			synctest.Wait()
			if c.call.err == nil {
				c.call.release()
			}
		}
	}
	require.False(t, b.InUse())
}

func compare(t *testing.T, b *bulkhead.Bulkhead, m *model, calls []*modelCall, log []string) {
	t.Helper()
	synctest.Wait()
	for i, c := range calls {
		require.Equal(t, c.done, c.call.ended.Load(), "call %d has ended, after %v", i, log)
		if c.done {
			require.ErrorIs(t, c.call.err, c.want, "call %d, after %v", i, log)
		}
	}
	s := b.Stats()
	require.Equal(t, m.inUse, s.InUse, "in use after %v", log)
	require.Equal(t, len(m.waiting), s.Waiting, "waiting after %v", log)
	require.Equal(t, m.cfg.Limit, s.Limit)
}
