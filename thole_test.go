package thole_test

import (
	"context"
	"errors"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// layer is a policy that notes when it is entered and left.
type layer struct {
	name     string
	log      *[]string
	blocking bool
}

func (l *layer) Do(ctx context.Context, fn func(context.Context) error) error {
	*l.log = append(*l.log, l.name+"(")
	defer func() { *l.log = append(*l.log, ")"+l.name) }()
	return fn(ctx)
}

func (l *layer) String() string { return l.name }

func (l *layer) Describe() thole.Description {
	return thole.Description{Kind: l.name, Blocking: l.blocking}
}

// gate is a layer that is a thole.Gate.
type gate struct {
	name   string
	log    *[]string
	refuse error
	mu     sync.Mutex
	inside int
	last   error
	onExit func()
}

func (g *gate) String() string { return g.name }

func (g *gate) Describe() thole.Description {
	return thole.Description{Kind: g.name, Blocking: true}
}

func (g *gate) Do(ctx context.Context, fn func(context.Context) error) error {
	return thole.Pass(ctx, g, fn)
}

func (g *gate) Enter(context.Context, *thole.Clock) (thole.Ticket, error) {
	if g.refuse != nil {
		return thole.Ticket{}, g.refuse
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	g.inside++
	if g.log != nil {
		*g.log = append(*g.log, g.name+"(")
	}
	return thole.Ticket{Stamp: 7, Start: int64(len(g.name))}, nil
}

func (g *gate) Leave(_ context.Context, t thole.Ticket, err error, _ *thole.Clock) {
	if t.Stamp != 7 || t.Start != int64(len(g.name)) {
		panic("a foreign ticket")
	}
	g.mu.Lock()
	g.inside--
	g.last = err
	if g.log != nil {
		*g.log = append(*g.log, ")"+g.name)
	}
	g.mu.Unlock()
	if g.onExit != nil {
		g.onExit()
	}
}

func newGate(name string, log *[]string) *gate {
	return &gate{name: name, log: log}
}

func TestChain_runsOutermostFirst(t *testing.T) {
	for _, blocking := range []bool{true, false} {
		var log []string
		add := func(name string) thole.Policy { return &layer{name: name, log: &log, blocking: blocking} }
		g := func(name string) thole.Policy { return newGate(name, &log) }
		p := thole.Chain(add("a"), nil, g("g"), g("h"), thole.Chain(g("i"), add("b"), g("j"), g("k"), g("l"), g("m"), g("n")), add("c"))
		require.NoError(t, p.Do(t.Context(), func(context.Context) error {
			log = append(log, "fn")
			return nil
		}))
		assert.Equal(t, []string{
			"a(", "g(", "h(", "i(", "b(", "j(", "k(", "l(", "m(", "n(", "c(", "fn",
			")c", ")n", ")m", ")l", ")k", ")j", ")b", ")i", ")h", ")g", ")a",
		}, log)
	}
}

func TestChain_printsItsOrder(t *testing.T) {
	a := &layer{name: "timeout"}
	b := &layer{name: "breaker[payments]"}
	f := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
	assert.Equal(t, "timeout(breaker[payments](thole.PolicyFunc))", thole.Chain(a, thole.Chain(b, f)).(interface{ String() string }).String())
	assert.Equal(t, "none", thole.Chain().(interface{ String() string }).String())
}

func TestChain_emptyOnlyRunsFn(t *testing.T) {
	boom := errors.New("boom")
	require.Equal(t, boom, thole.Chain(nil, nil).Do(t.Context(), func(context.Context) error { return boom }))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, thole.Chain().Do(ctx, func(context.Context) error {
		t.Error("fn ran")
		return nil
	}))
}

func TestChain_refusesATypedNilPointer(t *testing.T) {
	var l *layer
	require.PanicsWithValue(t, "thole: Chain: policy 1 is a nil *thole_test.layer: want a policy, or an untyped nil to skip it",
		func() { thole.Chain(nil, l) })
}

func TestChain_rule04_twoChainsFromOneSliceDoNotMix(t *testing.T) {
	var log []string
	backing := make([]thole.Policy, 1, 8)
	backing[0] = &layer{name: "base", log: &log, blocking: true}
	one := thole.Chain(append(backing, &layer{name: "one", log: &log, blocking: true})...)
	two := thole.Chain(append(backing, &layer{name: "two", log: &log, blocking: true})...)
	backing[0] = nil
	ok := func(context.Context) error { return nil }
	require.NoError(t, one.Do(t.Context(), ok))
	require.NoError(t, two.Do(t.Context(), ok))
	assert.Equal(t, []string{"base(", "one(", ")one", ")base", "base(", "two(", ")two", ")base"}, log)
}

func TestChain_innerRejectionReachesTheGatesAround(t *testing.T) {
	outer, inner := newGate("outer", nil), newGate("inner", nil)
	inner.refuse = thole.Rejection(thole.ReasonFull, "inner: full")
	err := thole.Chain(outer, inner).Do(t.Context(), func(context.Context) error { return nil })
	require.Equal(t, inner.refuse, err)
	assert.Equal(t, inner.refuse, outer.last)
	assert.Zero(t, outer.inside)
}

func TestChain_rule01_panicAndGoexitLeaveAllGates(t *testing.T) {
	for _, how := range []struct {
		name string
		fn   func(context.Context) error
	}{
		{"panic", func(context.Context) error { panic("boom") }},
		{"goexit", func(context.Context) error { runtime.Goexit(); return nil }},
		{"nil func", nil},
	} {
		t.Run(how.name, func(t *testing.T) {
			gates := []*gate{newGate("a", nil), newGate("b", nil), newGate("c", nil)}
			p := thole.Chain(gates[0], gates[1], gates[2])
			done := make(chan any)
			go func() {
				defer func() { done <- recover() }()
				_ = p.Do(context.Background(), how.fn)
			}()
			<-done
			for _, g := range gates {
				assert.Zero(t, g.inside, g.name)
				assert.Equal(t, thole.ErrAborted, g.last, g.name)
			}
			require.NoError(t, p.Do(t.Context(), func(context.Context) error { return nil }))
		})
	}
}

func TestChain_aPanicOnLeavingOneGateLeavesTheOthers(t *testing.T) {
	gates := []*gate{newGate("a", nil), newGate("b", nil), newGate("c", nil)}
	gates[2].onExit = func() { panic("hook c") }
	gates[1].onExit = func() { panic("hook b") }
	require.Panics(t, func() {
		_ = thole.Chain(gates[0], gates[1], gates[2]).Do(t.Context(), func(context.Context) error { return nil })
	})
	for _, g := range gates {
		assert.Zero(t, g.inside, g.name)
	}
	assert.NoError(t, gates[2].last, "it left before its hook panicked")
	assert.Equal(t, thole.ErrAborted, gates[1].last, "what it guards did not return")
}

// late is a hedge at its worst: it returns at once and lets fn run later.
type late struct{ wg sync.WaitGroup }

func (l *late) Do(ctx context.Context, fn func(context.Context) error) error {
	l.wg.Add(1)
	go func() {
		defer l.wg.Done()
		for range 3 {
			runtime.Gosched()
		}
		_ = fn(ctx)
	}()
	return nil
}

func TestChain_aRunThatOutlivesItsCallStillRunsItsOwnFn(t *testing.T) {
	var l late
	turn := func(string) thole.Policy {
		return []thole.Policy{&l, quietLayer{}, newGate("k", nil), nil}[rand.IntN(4)]
	}
	for name, p := range map[string]thole.Policy{
		"":                 thole.Chain(quietLayer{}, quietLayer{}, &l, quietLayer{}, newGate("g", nil), quietLayer{}),
		"keyed":            thole.Chain(quietLayer{}, thole.PerTarget(turn), quietLayer{}, newGate("g", nil), quietLayer{}),
		"keyed, outermost": thole.Chain(thole.PerTarget(turn), quietLayer{}, newGate("g", nil)),
		"keyed, innermost": thole.Chain(quietLayer{}, newGate("g", nil), thole.PerTarget(turn)),
		"keyed in keyed": thole.Chain(quietLayer{}, thole.PerTarget(func(string) thole.Policy {
			return thole.Chain(quietLayer{}, thole.PerTarget(turn), quietLayer{})
		}), quietLayer{}),
		"keyed, another late one behind": thole.Chain(quietLayer{}, thole.PerTarget(turn), quietLayer{}, &l, quietLayer{}, quietLayer{}),
	} {
		t.Run(name, func(t *testing.T) {
			const calls = 2000
			ran := make([]int, calls)
			var wg sync.WaitGroup
			for w := range 4 {
				wg.Go(func() {
					for i := w; i < calls; i += 4 {
						ctx := thole.WithTarget(context.Background(), strconv.Itoa(i%20))
						_ = p.Do(ctx, func(context.Context) error {
							ran[i]++
							return nil
						})
					}
				})
			}
			wg.Wait()
			l.wg.Wait()
			for i, n := range ran {
				require.Equal(t, 1, n, "call %d", i)
			}
		})
	}
}

// quietLayer passes calls on and is blocking.
type quietLayer struct{}

func (quietLayer) Do(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (quietLayer) Describe() thole.Description {
	return thole.Description{Kind: "quiet", Blocking: true}
}

func TestChain_isReentrant(t *testing.T) {
	p := thole.Chain(quietLayer{}, quietLayer{}, quietLayer{})
	var depth func(context.Context, int) error
	depth = func(ctx context.Context, n int) error {
		if n == 0 {
			return nil
		}
		return p.Do(ctx, func(ctx context.Context) error { return depth(ctx, n-1) })
	}
	require.NoError(t, depth(t.Context(), 20))
}

// doubled has a Do of its own, and the other methods of the gate that it embeds.
type doubled struct {
	*gate
	calls int
}

func (d *doubled) Do(ctx context.Context, fn func(context.Context) error) error {
	d.calls++
	return d.gate.Do(ctx, fn)
}

func TestChain_aTypeThatEmbedsAGateKeepsItsOwnDo(t *testing.T) {
	d := &doubled{gate: newGate("d", nil)}
	require.NoError(t, thole.Chain(newGate("a", nil), d, newGate("b", nil)).Do(t.Context(), ok))
	assert.Equal(t, 1, d.calls)
}

// An edge that uses its frames again asks a chain for a function that does so too.
func TestChain_aBoundFunctionServesCallAfterCall(t *testing.T) {
	type binder interface {
		Bind(func(context.Context) error) func(context.Context) error
	}
	l := &late{}
	for name, p := range map[string]thole.Policy{
		"none":    thole.Chain(),
		"one":     thole.Chain(quietLayer{}),
		"gates":   thole.Chain(quietLayer{}, newGate("a", nil), newGate("b", nil), quietLayer{}),
		"keyed":   thole.Chain(quietLayer{}, thole.PerTarget(func(string) thole.Policy { return newGate("k", nil) }), quietLayer{}),
		"outlive": thole.Chain(quietLayer{}, l, quietLayer{}),
	} {
		t.Run(name, func(t *testing.T) {
			var mu sync.Mutex
			ran, fail := 0, false
			do := p.(binder).Bind(func(context.Context) error {
				mu.Lock()
				defer mu.Unlock()
				ran++
				if fail && name != "outlive" { // there it would be in another goroutine
					panic("fn")
				}
				return nil
			})
			require.NoError(t, do(t.Context()))
			l.wg.Wait()
			if fail = true; name != "outlive" {
				require.PanicsWithValue(t, "fn", func() { _ = do(t.Context()) })
			} else {
				require.NoError(t, do(t.Context()))
			}
			l.wg.Wait()
			fail = false
			require.NoError(t, do(t.Context()))
			l.wg.Wait()
			require.Equal(t, 3, ran)
			ctx, cancel := context.WithCancel(t.Context())
			cancel()
			if name != "outlive" && name != "one" {
				require.Equal(t, context.Canceled, do(ctx))
				require.Equal(t, 3, ran)
			}
		})
	}
}

// What is inside of a keyed layer is there once, not once more for each keyed layer around it.
func TestChain_ofManyKeyedLayersIsMadeInNoTime(t *testing.T) {
	var layers []thole.Policy
	for range 64 {
		layers = append(layers, thole.PerTarget(func(string) thole.Policy { return nil }))
	}
	made := make(chan thole.Policy, 1)
	go func() { made <- thole.Chain(layers...) }()
	select {
	case p := <-made:
		require.NoError(t, p.Do(t.Context(), func(context.Context) error { return nil }))
	case <-time.After(10 * time.Second):
		t.Fatal("still not made")
	}
}

func TestBlocking(t *testing.T) {
	for name, row := range map[string]struct {
		p    thole.Policy
		want bool
	}{
		"no policy":        {nil, true},
		"none":             {thole.Chain(), true},
		"it says so":       {quietLayer{}, true},
		"it says nothing":  {&late{}, false},
		"it embeds one":    {&doubled{gate: newGate("d", nil)}, false},
		"all say so":       {thole.Chain(quietLayer{}, newGate("g", nil)), true},
		"one does not":     {thole.Chain(quietLayer{}, &late{}), false},
		"one embeds one":   {thole.Chain(quietLayer{}, &doubled{gate: newGate("d", nil)}), false},
		"one is not known": {thole.Chain(quietLayer{}, thole.PerTarget(func(string) thole.Policy { return quietLayer{} })), false},
		"a function":       {thole.PolicyFunc(quietLayer{}.Do), false},
	} {
		assert.Equal(t, row.want, thole.Blocking(row.p), name)
	}
}
