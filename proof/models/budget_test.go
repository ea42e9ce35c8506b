package models

import (
	"math"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole"
)

// budgetModel is a budget as a list of what was earned, and a reserve.
type budgetModel struct {
	cfg     thole.BudgetConfig
	now     time.Duration
	earned  []earning // oldest first
	reserve float64
	ahead   float64 // earned beyond MinPerSecond of late, at most a second's worth
	out     int
}

type earning struct {
	part   int64 // twentieth of the window in which it was earned
	amount float64
}

func (m *budgetModel) part() int64 { return int64((fiftyYears + m.now) / (m.cfg.Window / 20)) }

// sleep lets the reserve fill at MinPerSecond, less what was earned beyond that, and earnings
// of before the window be lost.
func (m *budgetModel) sleep(d time.Duration) {
	m.now += d
	trickle := m.cfg.MinPerSecond * d.Seconds()
	m.reserve = min(max(m.cfg.MinPerSecond, 1), m.reserve+max(0, trickle-m.ahead))
	m.ahead = max(0, m.ahead-trickle)
	for len(m.earned) > 0 && m.earned[0].part <= m.part()-20 {
		m.earned = m.earned[1:]
	}
}

func (m *budgetModel) deposit() {
	m.ahead = min(m.ahead+m.cfg.Ratio, m.cfg.MinPerSecond)
	m.earned = append(m.earned, earning{m.part(), m.cfg.Ratio})
}

func (m *budgetModel) tokens() float64 {
	sum := m.reserve
	for _, e := range m.earned {
		sum += e.amount
	}
	return sum
}

// withdraw takes a token from what is lost soonest, the reserve last.
func (m *budgetModel) withdraw() bool {
	need := 1.0
	if m.tokens() < need-1e-9 {
		return false
	}
	for i := range m.earned {
		take := min(need, m.earned[i].amount)
		m.earned[i].amount -= take
		need -= take
	}
	m.reserve = max(0, m.reserve-need)
	m.out++
	return true
}

func (m *budgetModel) refund() {
	if m.out > 0 {
		m.out--
		m.earned = append(m.earned, earning{m.part(), 1})
	}
}

func TestModel_budget(t *testing.T) { inBubble(t, budgetLife) }

func budgetLife(rt *rapid.T) {
	cfg := thole.BudgetConfig{
		Ratio:        rapid.SampledFrom([]float64{0.05, 0.1, 0.2, 0.25, 1}).Draw(rt, "Ratio"),
		MinPerSecond: rapid.SampledFrom([]float64{0.25, 1, 3, 10, 100}).Draw(rt, "MinPerSecond"),
		Window:       20 * millis(rt, 1, 500, "Window/20"),
	}
	b := thole.NewBudget(cfg)
	m := &budgetModel{cfg: cfg, reserve: cfg.MinPerSecond}
	calls, withdrawn, refunded := 0, 0, 0
	rt.Repeat(map[string]func(*rapid.T){
		"": func(rt *rapid.T) {
			s := b.Stats() // books what was deposited, at the time at which it was
			if math.Abs(s.Tokens-m.tokens()) > 1e-6 {
				rt.Fatalf("the model has %v tokens, the budget %v", m.tokens(), s.Tokens)
			}
			equal(rt, calls, s.Calls, "calls")
			equal(rt, m.out, s.Withdrawn, "withdrawn")
			// What holds whatever the model says.
			most := max(cfg.MinPerSecond, 1) + cfg.Ratio*float64(calls) + cfg.MinPerSecond*m.now.Seconds()
			if n := float64(withdrawn - refunded); n > most+1e-6 {
				rt.Fatalf("%v tokens were taken where at most %v can be", n, most)
			}
		},
		"deposit": func(rt *rapid.T) {
			for range rapid.IntRange(1, 40).Draw(rt, "calls") {
				b.Deposit()
				m.deposit()
				calls++
			}
			b.Stats()
		},
		"withdraw": func(rt *rapid.T) {
			for range rapid.IntRange(1, 12).Draw(rt, "tokens") {
				ok := m.withdraw()
				equal(rt, ok, b.Withdraw(), "withdrawn")
				if ok {
					withdrawn++
				}
			}
		},
		"refund": func(*rapid.T) {
			if m.out > 0 {
				refunded++
			}
			m.refund()
			b.Refund()
		},
		"sleep": func(rt *rapid.T) {
			d := millis(rt, 1, 600, "for")
			time.Sleep(d)
			m.sleep(d)
		},
		"sleep long": func(rt *rapid.T) {
			d := millis(rt, 1, 20_000, "for")
			time.Sleep(d)
			m.sleep(d)
		},
	})
	// Rest is enough: calls earn ahead of the trickle by a second of it at most, and then a
	// token takes its time.
	time.Sleep(time.Second + time.Duration(1.001/cfg.MinPerSecond*float64(time.Second)))
	if !b.Withdraw() {
		rt.Fatalf("no token after a rest")
	}
}
