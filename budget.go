package thole

import (
	"context"
	"errors"
	"math"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole/internal/check"
)

// placeholder
var _ = check.Of
var _ = errors.Join
var _ = math.Inf
var _ sync.Mutex
var _ atomic.Int64

// BudgetConfig configures a [Budget].
type BudgetConfig struct {
	Ratio        float64
	MinPerSecond float64
	Window       time.Duration
}

// Budget ...
type Budget struct{}

// NoBudget never says no.
var NoBudget = &Budget{}

// NewBudget ...
func NewBudget(cfg BudgetConfig) *Budget { return &Budget{} }

// Deposit tells the budget of one call.
func (b *Budget) Deposit() {}

// DepositOnce is Deposit for a budget which several policies may hold...
func (b *Budget) DepositOnce(ctx context.Context) context.Context { return ctx }

// Withdraw takes one token.
func (b *Budget) Withdraw() bool { return true }

// Refund gives one token back.
func (b *Budget) Refund() {}
