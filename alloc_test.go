//go:build !race

package thole_test

import (
	"context"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
)

func TestAlloc(t *testing.T) {
	ctx := context.Background()
	ok := func(context.Context) error { return nil }
	value := func(context.Context) (int, error) { return 1, nil }
	five := thole.Chain(quietLayer{}, quietLayer{}, quietLayer{}, quietLayer{}, quietLayer{})
	gates := thole.Chain(newGate("a", nil), newGate("b", nil), newGate("c", nil))
	refusing := newGate("r", nil)
	refusing.refuse = thole.Rejection(thole.ReasonFull, "full")
	budget := thole.NewBudget(thole.BudgetConfig{})
	keyed := thole.PerTarget(func(string) thole.Policy { return quietLayer{} })
	middle := thole.Chain(quietLayer{}, keyed, quietLayer{}, newGate("g", nil))
	straying := thole.PerTarget(func(string) thole.Policy { // may outlive the call, for all a chain knows
		return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
	})
	last, notLast := thole.Chain(quietLayer{}, straying), thole.Chain(quietLayer{}, straying, quietLayer{})
	target := thole.WithTarget(ctx, "http://example.com:80")
	marked := thole.Answer(refusing.refuse)
	for _, c := range []struct {
		name string
		want float64
		fn   func()
	}{
		{"chain of five layers", 0, func() { _ = five.Do(ctx, ok) }},
		{"chain of three gates", 0, func() { _ = gates.Do(ctx, ok) }},
		{"chain with a refusal", 0, func() { _ = thole.Chain(refusing).Do(ctx, ok) }},
		{"Do over a chain", 2, func() { _, _ = thole.Do(ctx, five, value) }},
		{"keyed, known key", 0, func() { _ = keyed.Do(target, ok) }},
		{"keyed in the middle of a chain", 0, func() { _ = middle.Do(target, ok) }},
		{"keyed, promising nothing, in the middle", 1, func() { _ = notLast.Do(target, ok) }},
		{"keyed, promising nothing, innermost", 0, func() { _ = last.Do(target, ok) }},
		{"budget deposit", 0, budget.Deposit},
		{"budget withdrawal", 0, func() { budget.Withdraw() }},
		{"outcome of a rejection", 0, func() { thole.OutcomeOf(ctx, refusing.refuse) }},
		{"outcome of an answer", 0, func() { thole.OutcomeOf(ctx, marked) }},
		{"retry-after of a rejection", 0, func() { thole.RetryAfter(refusing.refuse) }},
		{"attempt, target, once of a plain context", 0, func() {
			_, _, _ = thole.AttemptFrom(ctx), thole.TargetFrom(target), thole.Repeatable(ctx)
		}},
	} {
		if c.name == "chain with a refusal" {
			p := thole.Chain(newGate("a", nil), refusing)
			c.fn = func() { _ = p.Do(ctx, ok) }
		}
		assert.Equal(t, c.want, testing.AllocsPerRun(100, c.fn), c.name)
	}
}
