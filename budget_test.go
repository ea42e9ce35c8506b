package thole_test

import (
	"context"
	"math"
	"math/rand/v2"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func drain(b *thole.Budget) (n int) {
	for b.Withdraw() {
		n++
	}
	return n
}

func TestBudget_aFreshOneHoldsMinPerSecondTokens(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		assert.Equal(t, 10, drain(thole.NewBudget(thole.BudgetConfig{})))
		assert.Equal(t, 3, drain(thole.NewBudget(thole.BudgetConfig{MinPerSecond: 3})))
		assert.Equal(t, 0, drain(thole.NewBudget(thole.BudgetConfig{MinPerSecond: 0.5})))
	})
}

func TestBudget_rule23_refillsAfterBeingDrained(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := thole.NewBudget(thole.BudgetConfig{})
		drain(b)
		for range 4 {
			b.Deposit()
		}
		assert.Equal(t, 0, drain(b))
		b.Deposit()
		assert.Equal(t, 1, drain(b), "five calls of 0.2")
		time.Sleep(time.Second)
		assert.Equal(t, 9, drain(b), "with the one before, the ten of the floor")
	})
}

func TestBudget_depositsLapseWithTheWindow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := thole.NewBudget(thole.BudgetConfig{MinPerSecond: 1e-6})
		deposit := func() {
			for range 1000 {
				b.Deposit()
			}
			b.Stats()
		}
		deposit()
		time.Sleep(9 * time.Second)
		assert.InDelta(t, 200, b.Stats().Tokens, 0.01)
		time.Sleep(time.Second)
		assert.InDelta(t, 0, b.Stats().Tokens, 0.01)
		deposit()
		time.Sleep(time.Hour)
		assert.InDelta(t, 0, b.Stats().Tokens, 0.01)
	})
}

// What a call earns is good for a window from then on, also if nobody asked the budget for longer
// than a window before.
func TestBudget_rule23_aCallAfterARestEarnsAsAnyOther(t *testing.T) {
	for _, row := range []struct {
		cfg         thole.BudgetConfig
		calls, want int // after each rest
	}{
		{thole.BudgetConfig{Ratio: 1, MinPerSecond: 1e-6}, 1, 1},
		{thole.BudgetConfig{Ratio: 1, MinPerSecond: 0.02}, 1, 1},
		{thole.BudgetConfig{Ratio: 0.2, MinPerSecond: 1e-6}, 10, 2},
		{thole.BudgetConfig{Ratio: 1, MinPerSecond: 1, Window: 37 * time.Second}, 15, 15},
	} {
		synctest.Test(t, func(t *testing.T) {
			b := thole.NewBudget(row.cfg)
			for range 100 {
				time.Sleep(time.Minute + 7)
				for range row.calls {
					b.Deposit()
				}
				for range row.want {
					require.True(t, b.Withdraw(), "%v", b)
				}
			}
		})
	}
}

func TestBudget_rule23_theFloorIsNoBonus(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := thole.NewBudget(thole.BudgetConfig{})
		drain(b)
		extra := 0
		const calls = 10_000
		for range calls { // 1,000 a second: 0.2 of it is far above 10 a second
			b.Deposit()
			time.Sleep(time.Millisecond)
			extra += drain(b)
		}
		assert.LessOrEqual(t, extra, calls/5)
		assert.GreaterOrEqual(t, extra, calls/5-1)
	})
}

func TestBudget_rule23_isNeverOverdrawnConcurrently(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := thole.NewBudget(thole.BudgetConfig{})
		var got atomic.Int64
		var wg sync.WaitGroup
		for range 50 {
			wg.Go(func() {
				for range 100 {
					b.Deposit()
					if b.Withdraw() {
						got.Add(1)
					}
				}
			})
		}
		wg.Wait()
		got.Add(int64(drain(b)))
		assert.EqualValues(t, 10+5000/5, got.Load())
		s := b.Stats()
		assert.Equal(t, 5000, s.Calls)
		assert.Equal(t, 1010, s.Withdrawn)
		assert.Equal(t, 5000-1010+int(got.Load())-1010+1, s.Refused, "each that got none, and the last of drain")
	})
}

func TestBudget_rule23_aRefundMakesAsIfNeverTaken(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := thole.NewBudget(thole.BudgetConfig{})
		drain(b)
		require.False(t, b.Withdraw())
		b.Refund()
		require.True(t, b.Withdraw())
		require.False(t, b.Withdraw())
		assert.Equal(t, 10, b.Stats().Withdrawn)
	})
}

func TestBudget_rule23_oneCallDepositsOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b, other := thole.NewBudget(thole.BudgetConfig{}), thole.NewBudget(thole.BudgetConfig{})
		ctx := b.DepositOnce(t.Context())
		inner := other.DepositOnce(thole.WithTarget(ctx, "x"))
		assert.Equal(t, inner, b.DepositOnce(inner))
		assert.Equal(t, inner, other.DepositOnce(inner))
		assert.Equal(t, 1, b.Stats().Calls)
		assert.Equal(t, 1, other.Stats().Calls)
		b.DepositOnce(t.Context())
		assert.Equal(t, 2, b.Stats().Calls)
	})
}

func TestBudget_noBudgetNeverSaysNo(t *testing.T) {
	for _, b := range []*thole.Budget{thole.NoBudget, nil} {
		b.Deposit()
		b.Refund()
		assert.Equal(t, context.Background(), b.DepositOnce(context.Background()))
		for range 1000 {
			require.True(t, b.Withdraw())
		}
		assert.True(t, math.IsInf(b.Stats().Tokens, 1))
		assert.Equal(t, "none", b.String())
	}
	assert.Equal(t, "20% of calls, at least 10/s, over 10s", thole.NewBudget(thole.BudgetConfig{}).String())
}

// However deposits, withdrawals and time come, in no window of calls is more withdrawn than
// the calls and the floor of a window and a bit, and what was there at the start, allow.
func TestBudget_model(t *testing.T) {
	for seed := range uint64(30) {
		synctest.Test(t, func(t *testing.T) {
			r := rand.New(rand.NewPCG(seed, 1))
			cfg := thole.BudgetConfig{Ratio: 0.01 + r.Float64()*0.99, MinPerSecond: r.Float64() * 20, Window: time.Second * time.Duration(1+r.IntN(10))}
			b := thole.NewBudget(cfg)
			start := time.Now()
			calls, taken := 0, 0
			for range 3000 {
				switch r.IntN(4) {
				case 0:
					time.Sleep(time.Duration(r.IntN(20_000_000)))
				case 1, 2:
					b.Deposit()
					calls++
				default:
					if b.Withdraw() {
						taken++
					}
				}
				elapsed := time.Since(start).Seconds()
				allowed := cfg.Ratio*float64(calls) + cfg.MinPerSecond*(elapsed+1) + 1e-6
				require.LessOrEqual(t, float64(taken), allowed)
			}
			if b.Stats(); cfg.MinPerSecond >= 1 {
				time.Sleep(cfg.Window + time.Second)
				require.InDelta(t, cfg.MinPerSecond, b.Stats().Tokens, 1e-6, "after an idle window only the floor is left")
			}
		})
	}
}

func FuzzBudgetConfig(f *testing.F) {
	f.Add(0.0, 0.0, int64(0))
	f.Add(math.NaN(), -1.0, int64(-1))
	f.Add(1.0, 1e6, int64(math.MaxInt64))
	f.Add(0.1, math.Inf(1), int64(time.Millisecond))
	f.Fuzz(func(t *testing.T, ratio, minimum float64, window int64) {
		cfg := thole.BudgetConfig{Ratio: ratio, MinPerSecond: minimum, Window: time.Duration(window)}
		if err := cfg.Validate(); err != nil {
			require.PanicsWithValue(t, err.Error(), func() { thole.NewBudget(cfg) })
			return
		}
		b := thole.NewBudget(cfg)
		b.Deposit()
		n := 0
		for n < 2_000_010 && b.Withdraw() {
			n++
		}
		require.LessOrEqual(t, n, 2_000_000)
		require.GreaterOrEqual(t, b.Stats().Tokens, 0.0)
	})
}

func TestBudgetConfig_rule05_errorsNameFieldValueAndRange(t *testing.T) {
	err := thole.BudgetConfig{Ratio: 1.5, MinPerSecond: math.NaN(), Window: -time.Second}.Validate()
	require.EqualError(t, err, "thole: BudgetConfig.Ratio is 1.5: want 0 (0.2) to 1\n"+
		"thole: BudgetConfig.MinPerSecond is NaN: want 0 (10) to 1e+06\n"+
		"thole: BudgetConfig.Window is -1s: want 0 (10 s), or 1 ms to 876000 h")
}

func TestBudget_rule07_madeOutsideTheBubbleItIsUsedIn(t *testing.T) {
	b := thole.NewBudget(thole.BudgetConfig{})
	drain(b)
	synctest.Test(t, func(t *testing.T) {
		require.Equal(t, 0, drain(b))
		time.Sleep(time.Second)
		require.Equal(t, 10, drain(b))
		for range 50 {
			b.Deposit()
		}
		require.Equal(t, 10, drain(b))
		for range 50 {
			b.Deposit()
		}
		b.Stats()
		time.Sleep(10 * time.Second)
		require.Equal(t, 10, drain(b), "what was earned has lapsed, the floor has not")
	})
}
