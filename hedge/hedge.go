package hedge

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
	"github.com/thole-go/thole/internal/quantile"
)

// Hedge is a policy that starts another attempt when one takes long. Make one with [New]. It
// is safe for concurrent use.
type Hedge struct {
	base time.Time
	own  *thole.Budget
	set  atomic.Pointer[settings]

	calls, hedges, wins, refused, panics atomic.Int64
}

// settings is one configuration, ready for use.
type settings struct {
	Config
	budget *thole.Budget
	est    *quantile.Estimator // nil: Delay alone decides
}

var _ thole.Policy = (*Hedge)(nil)

// New returns a Hedge. It panics if cfg is not valid; see [Config.Validate].
func New(cfg Config) *Hedge {
	h := &Hedge{
		base: time.Now(),
		own:  thole.NewBudget(thole.BudgetConfig{Ratio: 0.05, MinPerSecond: 1}),
	}
	if err := h.Reconfigure(cfg); err != nil {
		panic(err.Error())
	}
	return h
}

// Reconfigure puts cfg in force for the calls that begin from now on. What is known of
// latencies is kept as long as a quantile is wanted, and so is the own budget. An invalid cfg
// is refused whole: the error says why, and all stays as it was.
func (h *Hedge) Reconfigure(cfg Config) error {
	if err := cfg.Validate(); err != nil {
		return err
	}
	s := &settings{Config: cfg.withDefaults(), budget: cfg.Budget}
	if s.budget == nil {
		s.budget = h.own
	}
	for {
		old := h.set.Load()
		switch {
		case s.Quantile == 0:
		case old != nil && old.est != nil:
			s.est = old.est
			s.est.SetQuantile(s.Quantile)
		default:
			s.est = quantile.New(s.Quantile)
		}
		if h.set.CompareAndSwap(old, s) {
			return nil
		}
	}
}

// delay returns after what time another attempt starts; 0 if that is not known yet.
func (s *settings) delay() time.Duration {
	d := s.Delay
	if s.est != nil {
		if live, ok := s.est.Get(); ok {
			d = max(d, live)
		}
	}
	return d
}

// Do runs fn, in a goroutine of its own, and once more beside it each time the delay has
// passed without an answer. It returns nil, or the Answer, as soon as one run succeeds;
// the only run's error, or an [*Error], when all that were started have failed; and ctx's
// error, with what is known beyond that, when ctx ends first. It does not wait for the runs
// that lost. If ctx is done already, fn does not run, and Do returns ctx.Err().
func (h *Hedge) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	h.calls.Add(1)
	s := h.set.Load()
	if s.budget == h.own {
		s.budget.Deposit()
	} else {
		ctx = s.budget.DepositOnce(ctx)
	}
	if !thole.Repeatable(ctx) {
		return fn(ctx)
	}
	c := &call{h: h, set: s, ctx: ctx, fn: fn, outer: thole.LifetimeFrom(ctx), delay: s.delay()}
	c.next = c.startNext
	go c.next()
	c.wait()
	return c.result()
}

// Stats is a snapshot of a [Hedge].
type Stats struct {
	Calls       int           // that ran fn, from the beginning; those in flight included
	Hedges      int           // attempts that were started beside a first one
	HedgeWins   int           // of them, those whose answer came first
	Refused     int           // hedges that the budget did not allow
	LoserPanics int           // panics, and Goexits, of attempts that had lost: swallowed
	Delay       time.Duration // after which another attempt starts now; 0 as long as it is not known
}

// Stats returns what happened so far, and the delay in force.
func (h *Hedge) Stats() Stats {
	return Stats{
		Calls:       int(h.calls.Load()),
		Hedges:      int(h.hedges.Load()),
		HedgeWins:   int(h.wins.Load()),
		Refused:     int(h.refused.Load()),
		LoserPanics: int(h.panics.Load()),
		Delay:       h.set.Load().delay(),
	}
}

// Describe returns the policy's kind, name and configuration, for thole.Explain and its like.
func (h *Hedge) Describe() thole.Description {
	s := h.set.Load()
	return thole.Description{
		Kind:     "hedge",
		Name:     s.Name,
		Settings: s.list(),
		Runs:     1 + s.MaxHedges,
		Delay:    s.Delay,
		Pauses:   s.pauses(),
	}
}

// pauses returns how long after the first attempt the last one starts; 0 if latencies decide.
func (s *settings) pauses() time.Duration {
	if s.est != nil || s.Delay > check.MaxDuration/time.Duration(s.MaxHedges) {
		return 0
	}
	return s.Delay * time.Duration(s.MaxHedges)
}

// String returns "hedge", or "hedge[name]".
func (h *Hedge) String() string { return h.Describe().String() }
