package thole

import (
	"context"
	"errors"
	"fmt"
	"math"
	"sync"
	"sync/atomic"
	"time"
)

// BudgetConfig configures a [Budget]. The zero value is a sensible budget for retries.
type BudgetConfig struct {
	// Ratio is how many extra attempts each call allows: 0 means 0.2, at most 1.
	Ratio float64

	// MinPerSecond is how many extra attempts a second are allowed however few calls there
	// are, so that a quiet client may retry too: 0 means 10, at most 1e6. It is a floor, not
	// a bonus: while Ratio allows more, it adds nothing.
	MinPerSecond float64

	// Window is how long what a call allowed stays good: 0 means 10 s.
	Window time.Duration
}

const maxMinPerSecond = 1e6

// maxDuration bounds configured durations, so that sums with a clock never overflow.
const maxDuration = 100 * 365 * 24 * time.Hour

// Validate reports what is wrong with the configuration, naming each field.
func (c BudgetConfig) Validate() error {
	var errs []error
	if math.IsNaN(c.Ratio) || c.Ratio < 0 || c.Ratio > 1 {
		errs = append(errs, fmt.Errorf("thole: BudgetConfig.Ratio is %v: want 0 (0.2) to 1", c.Ratio))
	}
	if math.IsNaN(c.MinPerSecond) || c.MinPerSecond < 0 || c.MinPerSecond > maxMinPerSecond {
		errs = append(errs, fmt.Errorf("thole: BudgetConfig.MinPerSecond is %v: want 0 (10) to %v", c.MinPerSecond, maxMinPerSecond))
	}
	if c.Window < 0 || c.Window > maxDuration || c.Window > 0 && c.Window < time.Millisecond {
		errs = append(errs, fmt.Errorf("thole: BudgetConfig.Window is %v: want 0 (10 s), or 1 ms to %d h", c.Window, int64(maxDuration.Hours())))
	}
	return errors.Join(errs...)
}

func (c BudgetConfig) withDefaults() BudgetConfig {
	if c.Ratio == 0 {
		c.Ratio = 0.2
	}
	if c.MinPerSecond == 0 {
		c.MinPerSecond = 10
	}
	if c.Window == 0 {
		c.Window = 10 * time.Second
	}
	return c
}

// Budget bounds the load that retries and hedges add to a destination, however many
// policies hold it: one extra attempt costs a token, each call earns Ratio of one, and
// MinPerSecond trickle in regardless. When the destination fails for everybody the budget is
// soon spent, and each call is then sent 1 + Ratio times on average instead of MaxAttempts
// times. The idea is Finagle's RetryBudget; see also the Google SRE book, chapter 21.
//
// A fresh budget holds MinPerSecond tokens. All methods are safe for concurrent use; a nil
// Budget never says no.
type Budget struct {
	cfg  BudgetConfig
	base time.Time

	// Every call writes it, so it has a cache line of its own: beside it lies what every call
	// reads, and around it other budgets (two on two processors: 14.5 ns a call without, 9.4 with).
	_     [56]byte
	calls atomic.Int64 // deposits so far
	_     [56]byte

	mu     sync.Mutex
	ledger ledger

	withdrawn, refused int
}

// NoBudget never says no.
var NoBudget = &Budget{}

// NewBudget returns a budget with the given configuration. It panics if that is invalid.
func NewBudget(cfg BudgetConfig) *Budget {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	cfg = cfg.withDefaults()
	return &Budget{
		cfg:    cfg,
		base:   clockBase(),
		ledger: ledger{reserve: cfg.MinPerSecond},
	}
}

func (b *Budget) unlimited() bool { return b == nil || b.cfg.Window == 0 }

// settleEvery is how many deposits may wait before one reads the clock and books them. It
// keeps a deposit near the cost of an atomic add, and its time known well enough: what is
// booked late is spread evenly over the time since the last booking, as far as that lies in the
// window.
const settleEvery = 16

// Deposit tells the budget of one call. Policies call it once a call, not once an attempt.
func (b *Budget) Deposit() {
	if b.unlimited() {
		return
	}
	if b.calls.Add(1)%settleEvery == 0 && b.mu.TryLock() { // else whoever has the lock books them, or the next to come
		b.settle()
		b.mu.Unlock()
	}
}

type depositKey struct{ budget *Budget }

type depositCtx struct {
	context.Context
	budget *Budget
}

func (c *depositCtx) Value(key any) any {
	if key == (depositKey{c.budget}) {
		return true
	}
	return c.Context.Value(key)
}

// DepositOnce is Deposit for a budget that several policies around one call may hold: it
// does nothing if ctx says that one further out has told the budget already, and returns a
// context that says so to those further in.
func (b *Budget) DepositOnce(ctx context.Context) context.Context {
	if b.unlimited() || ctx.Value(depositKey{b}) != nil {
		return ctx
	}
	b.Deposit()
	return &depositCtx{ctx, b}
}

// Withdraw takes a token for one extra attempt. It reports false, and takes nothing, when
// the budget is spent.
func (b *Budget) Withdraw() bool {
	if b.unlimited() {
		return true
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	if !b.ledger.withdraw() {
		b.refused++
		return false
	}
	b.withdrawn++
	return true
}

// Refund gives back the token of an attempt that never began. Without one to give back it
// does nothing.
func (b *Budget) Refund() {
	if b.unlimited() {
		return
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.withdrawn == 0 {
		return
	}
	b.settle()
	b.ledger.slots[b.ledger.newest%ledgerSlots]++
	b.withdrawn--
}

// BudgetStats is a snapshot of a [Budget].
type BudgetStats struct {
	Tokens    float64 // extra attempts allowed right now; +Inf for NoBudget
	Calls     int     // deposits
	Withdrawn int     // extra attempts made
	Refused   int     // extra attempts refused
}

// Stats returns a snapshot.
func (b *Budget) Stats() BudgetStats {
	if b.unlimited() {
		return BudgetStats{Tokens: math.Inf(1)}
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.settle()
	return BudgetStats{
		Tokens:    b.ledger.balance(),
		Calls:     int(b.ledger.seen),
		Withdrawn: b.withdrawn,
		Refused:   b.refused,
	}
}

// String returns the configuration in short, "20% of calls, at least 10/s, over 10s"; "none"
// for NoBudget.
func (b *Budget) String() string {
	if b.unlimited() {
		return "none"
	}
	return fmt.Sprintf("%g%% of calls, at least %g/s, over %v", b.cfg.Ratio*100, b.cfg.MinPerSecond, b.cfg.Window)
}

// settle books what was deposited since the last time. The lock is held.
func (b *Budget) settle() {
	b.ledger.advance(b.cfg, time.Since(b.base), b.calls.Load())
}

// ledger is the arithmetic of a budget, without clock or lock.
//
// What calls earned lies in slots of Window/ledgerSlots by the time it was earned, and is
// lost when its slot falls out of the window. The reserve fills at MinPerSecond less what was
// earned meanwhile, and holds one second's worth.
type ledger struct {
	at      time.Duration // booked up to here
	seen    int64         // calls booked
	newest  int64         // number of the slot that at falls in
	slots   [ledgerSlots]float64
	reserve float64
	ahead   float64 // what was earned of late beyond MinPerSecond, at most one second's worth
}

const ledgerSlots = 20

// advance books the calls that came since the last time, as if spread evenly since then, or over
// the window if that is shorter.
func (l *ledger) advance(cfg BudgetConfig, now time.Duration, calls int64) {
	width := max(cfg.Window/ledgerSlots, 1)
	if now < l.at || l.at == 0 { // the first booking; or the clock is now that of a synctest bubble
		*l = ledger{at: now, seen: l.seen, newest: int64(now / width), reserve: l.reserve}
	}
	first, last := l.newest, int64(now/width)
	earned := cfg.Ratio * float64(calls-l.seen)
	elapsed := now - l.at
	// Which of the calls came before the window began nobody knows. They are about settleEvery at
	// the most, and none of those within it may lose what it earned.
	oldest := max(first, last-ledgerSlots+1)
	begin := max(l.at, time.Duration(oldest)*width)

	l.ahead += earned - cfg.MinPerSecond*elapsed.Seconds()
	l.reserve = min(max(cfg.MinPerSecond, 1), l.reserve+max(0, -l.ahead))
	l.ahead = min(max(0, l.ahead), cfg.MinPerSecond)
	for n := max(first+1, last-ledgerSlots+1); n <= last; n++ {
		l.slots[n%ledgerSlots] = 0
	}
	for n := oldest; n <= last && earned > 0; n++ {
		share := 1.0
		if begin < now {
			from := max(begin, time.Duration(n)*width)
			to := min(now, time.Duration(n+1)*width)
			share = float64(to-from) / float64(now-begin)
		}
		l.slots[n%ledgerSlots] += earned * share
	}
	l.at, l.seen, l.newest = now, calls, last
}

func (l *ledger) balance() float64 {
	sum := l.reserve
	for _, s := range l.slots {
		sum += s
	}
	return sum
}

// withdraw takes one token, from what expires soonest, the reserve last.
func (l *ledger) withdraw() bool {
	const rounding = 1e-9 // ten times 0.1 is one token
	if l.balance() < 1-rounding {
		return false
	}
	need := 1.0
	for n := l.newest + 1; n <= l.newest+ledgerSlots && need > 0; n++ {
		s := &l.slots[n%ledgerSlots]
		take := min(*s, need)
		*s -= take
		need -= take
	}
	l.reserve = max(0, l.reserve-need)
	return true
}
