package thole_test

import (
	"context"
	"testing"

	"github.com/thole-go/thole"
)

func ok(context.Context) error { return nil }

func BenchmarkChain(b *testing.B) {
	five := thole.Chain(quietLayer{}, quietLayer{}, quietLayer{}, quietLayer{}, quietLayer{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_ = five.Do(ctx, ok)
	}
}

func BenchmarkKeyed(b *testing.B) {
	keyed := thole.PerTarget(func(string) thole.Policy { return quietLayer{} })
	ctx := thole.WithTarget(context.Background(), "http://example.com:80")
	b.ReportAllocs()
	for b.Loop() {
		_ = keyed.Do(ctx, ok)
	}
}

func BenchmarkDo(b *testing.B) {
	p := thole.Chain(quietLayer{})
	ctx := context.Background()
	b.ReportAllocs()
	for b.Loop() {
		_, _ = thole.Do(ctx, p, func(context.Context) (int, error) { return 1, nil })
	}
}

func BenchmarkBudgetDeposit(b *testing.B) {
	budget := thole.NewBudget(thole.BudgetConfig{})
	for b.Loop() {
		budget.Deposit()
	}
}
