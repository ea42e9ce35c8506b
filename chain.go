package thole

import (
	"context"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"
)

// Chain composes policies, the outermost first: Chain(a, b, c) runs a(b(c(fn))).
//
// Nil entries are skipped; Chain() alone only runs fn. Chains nest, and the slice is copied.
// A typed nil is a mistake that would surface on the first bad day, so Chain panics on it at
// once. The result prints as "timeout(retry(breaker[payments]))"; a policy without
// a String method prints as its type.
//
// A chain of this module's policies allocates nothing of its own, but for one allocation a call
// where a hedge is not the innermost.
func Chain(policies ...Policy) Policy {
	var layers []Policy
	for i, p := range policies {
		switch p := p.(type) {
		case nil:
		case *chain:
			layers = append(layers, p.layers...)
		default:
			if v := reflect.ValueOf(p); (v.Kind() == reflect.Pointer || v.Kind() == reflect.Func) && v.IsNil() {
				panic(fmt.Sprintf("thole: Chain: policy %d is a nil %T: want a policy, or an untyped nil to skip it", i, p))
			}
			layers = append(layers, p)
		}
	}
	return newChain(layers)
}

// chain runs its layers as a sequence of steps, where neighbouring gates make one step.
//
// A step needs a function that runs the step after it. Making one per layer and call costs
// an allocation each (five do-nothing layers: 317 ns), so the functions live in a frame that
// is used again by later calls (43 ns). That is right only while no function of a frame is
// called after its call has ended. Policies that describe themselves as Blocking promise it;
// behind any other, such as a hedge, whose losers outlive the call, the chain is cut in two:
// the outer frame ends with that policy, and each run inside gets a frame of its own. One that
// learns only with each call whether it keeps the promise, as a keyed policy does, is lasting.
type chain struct {
	layers []Policy
	steps  []Policy
	inside []*chain // of each step that is lasting: the steps inside of it
	tail   *chain   // what is inside the last step, if that may outlive the call
	frames sync.Pool
}

// lasting is a policy that learns only with each call what it may run inside of it: fn, if it
// promises what Blocking means and keeps the clock; anew, which drops the clock's reading first,
// if it promises no more than the former; else what last returns, which stays right for ever.
type lasting interface {
	Policy
	doLasting(ctx context.Context, fn, anew func(context.Context) error, last func() func(context.Context) error, clock *Clock) error
}

func newChain(layers []Policy) *chain {
	var tail *chain
	outer := layers
	for i, p := range layers[:max(len(layers)-1, 0)] {
		if _, ok := p.(lasting); !ok && !Blocking(p) {
			outer, tail = layers[:i+1], newChain(layers[i+1:])
			break
		}
	}
	c := ofSteps(mergeGates(outer), time.Now())
	c.layers, c.tail = layers, tail
	return c
}

func ofSteps(steps []Policy, base time.Time) *chain {
	inside := make([]*chain, len(steps))
	for i := len(steps) - 1; i >= 0; i-- {
		if _, ok := steps[i].(lasting); ok {
			inside[i] = withFrames(&chain{steps: steps[i+1:], inside: inside[i+1:]}, base)
		}
	}
	return withFrames(&chain{steps: steps, inside: inside}, base)
}

func withFrames(c *chain, base time.Time) *chain {
	c.frames.New = func() any { return newFrame(c, base) }
	return c
}

// Do runs fn through all layers.
func (c *chain) Do(ctx context.Context, fn func(context.Context) error) error {
	if c.tail != nil {
		fn = c.tail.bind(fn)
	}
	switch len(c.steps) {
	case 0:
		if err := ctx.Err(); err != nil {
			return err
		}
		return fn(ctx)
	case 1:
		return c.steps[0].Do(ctx, fn)
	}
	f := c.frames.Get().(*frame)
	f.fn = fn
	f.clock.Forget()
	err := f.start(ctx)
	// After a panic or Goexit the frame is left to the garbage collector: nothing to defer.
	f.fn = nil
	c.frames.Put(f)
	return err
}

// Bind returns a function that does what Do does with fn, but for one call at a time: it keeps
// a frame of its own, which saves taking one from the pool and giving it back (15 ns). It is for
// an edge that has frames of its own, and uses them again.
func (c *chain) Bind(fn func(context.Context) error) func(context.Context) error {
	if c.tail != nil || len(c.steps) < 2 {
		return c.bind(fn)
	}
	f := c.frames.New().(*frame)
	f.fn = fn
	return func(ctx context.Context) error {
		f.clock.Forget()
		return f.start(ctx)
	}
}

// bind returns a function that runs fn through c, and that stays right for ever.
func (c *chain) bind(fn func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error { return c.Do(ctx, fn) }
}

// String returns the layers in their order: "timeout(retry(breaker[payments]))".
func (c *chain) String() string {
	if len(c.layers) == 0 {
		return "none"
	}
	var s strings.Builder
	for i, p := range c.layers {
		if i > 0 {
			s.WriteByte('(')
		}
		s.WriteString(nameOf(p))
	}
	s.WriteString(strings.Repeat(")", len(c.layers)-1))
	return s.String()
}

// Describe tells what the chain is made of.
func (c *chain) Describe() Description {
	all := !slices.ContainsFunc(c.layers, func(p Policy) bool { return !Blocking(p) })
	return Description{Kind: "chain", Inner: slices.Clone(c.layers), Blocking: all}
}

// InUse reports whether a layer holds something that forgetting the chain would lose.
func (c *chain) InUse() bool {
	return slices.ContainsFunc(c.layers, inUse)
}

// frame holds what one call through a chain needs: start runs the first step, next[i] all
// steps after i.
type frame struct {
	fn    func(context.Context) error
	clock Clock
	start func(context.Context) error
	next  []func(context.Context) error
}

func newFrame(c *chain, base time.Time) *frame {
	f := &frame{clock: Clock{base: base}, next: make([]func(context.Context) error, len(c.steps))}
	for i := len(c.steps) - 1; i > 0; i-- {
		f.next[i-1] = f.runs(c.steps[i], c.steps[i-1], f.next[i], c.inside[i])
	}
	f.start = f.runs(c.steps[0], nil, f.next[0], c.inside[0])
	return f
}

// runs returns a function that runs step with next inside it, or with the call's own fn if
// next is nil. If the step before knows nothing of the clock, nobody knows what time it took.
func (f *frame) runs(step, before Policy, next func(context.Context) error, inside *chain) func(context.Context) error {
	forget := before != nil && !knowsClock(before)
	if l, ok := step.(lasting); ok {
		last := func() func(context.Context) error { return f.fn }
		anew := next
		if next != nil {
			last = func() func(context.Context) error { return inside.bind(f.fn) }
			anew = func(ctx context.Context) error {
				f.clock.Forget()
				return next(ctx)
			}
		}
		return func(ctx context.Context) error {
			if forget {
				f.clock.Forget()
			}
			return l.doLasting(ctx, f.or(next), f.or(anew), last, &f.clock)
		}
	}
	t, ok := timed(step)
	if !ok {
		return func(ctx context.Context) error { return step.Do(ctx, f.or(next)) }
	}
	return func(ctx context.Context) error {
		if forget {
			f.clock.Forget()
		}
		return t.DoTimed(ctx, f.or(next), &f.clock)
	}
}

// or returns next, or the call's own fn if that is nil.
func (f *frame) or(next func(context.Context) error) func(context.Context) error {
	if next != nil {
		return next
	}
	return f.fn
}

// knowsClock reports whether step uses the clock that the steps of a call share.
func knowsClock(step Policy) bool {
	_, timed := timed(step)
	_, lasting := step.(lasting)
	return timed || lasting
}

// mergeGates makes one step of each run of neighbouring gates, be it of a single one.
func mergeGates(layers []Policy) []Policy {
	var steps []Policy
	for i := 0; i < len(layers); {
		var run gates
		for ; i < len(layers) && len(run) < maxGates; i++ {
			g, ok := layers[i].(Gate)
			if !ok || embeds(g) {
				break
			}
			run = append(run, g)
		}
		switch {
		case len(run) == 0:
			steps = append(steps, layers[i])
			i++
		case len(run) == 1:
			steps = append(steps, single{run[0]})
		default:
			steps = append(steps, run)
		}
	}
	return steps
}

// timed returns p as a Timed, if it is one.
func timed(p Policy) (Timed, bool) {
	t, ok := p.(Timed)
	if _, ours := p.(single); ours {
		return t, true // though it embeds one
	}
	return t, ok && !embeds(t)
}

var policyType = reflect.TypeFor[Policy]()

// embeds reports whether p's type embeds a policy. Such a type may have a Do of its own and
// yet the other methods of what it embeds, which then speak of that and not of p.
func embeds(p Policy) bool {
	t := reflect.TypeOf(p)
	if t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	if t.Kind() != reflect.Struct {
		return false
	}
	for i := range t.NumField() {
		f := t.Field(i)
		if f.Anonymous && (f.Type.Implements(policyType) || reflect.PointerTo(f.Type).Implements(policyType)) {
			return true
		}
	}
	return false
}

// single is a gate without neighbours.
type single struct{ Gate }

// DoTimed is gates.DoTimed for one, which costs 15 ns less.
func (s single) DoTimed(ctx context.Context, fn func(context.Context) error, clock *Clock) error {
	if err := clock.Err(ctx); err != nil {
		return err
	}
	t, err := s.Enter(ctx, clock)
	if err != nil {
		return err
	}
	returned := false
	defer func() {
		if !returned {
			clock.Forget()
			s.Leave(ctx, t, ErrAborted, clock)
		}
	}()
	err = fn(ctx)
	returned = true
	clock.Forget()
	s.Leave(ctx, t, err, clock)
	return err
}

// gates is a run of neighbouring gates, outermost first.
type gates []Gate

// maxGates bounds a run, so that the tickets of a call lie on the stack.
const maxGates = 4

// Do runs fn through all gates.
func (g gates) Do(ctx context.Context, fn func(context.Context) error) error {
	return g.DoTimed(ctx, fn, nil)
}

// DoTimed enters each gate in turn, runs fn, and leaves in the opposite order.
func (g gates) DoTimed(ctx context.Context, fn func(context.Context) error, clock *Clock) error {
	err := clock.Err(ctx)
	if err != nil {
		return err
	}
	var tickets [maxGates]Ticket
	entered := 0
	defer func() {
		if entered > 0 { // fn or a gate's hook did not return
			clock.Forget()
			g.abort(ctx, &tickets, entered, clock)
		}
	}()
	for i, gate := range g {
		if tickets[i], err = gate.Enter(ctx, clock); err != nil {
			break
		}
		entered++
	}
	if err == nil {
		err = fn(ctx)
		clock.Forget()
	}
	for entered > 0 {
		entered--
		g[entered].Leave(ctx, tickets[entered], err, clock)
	}
	return err
}

// abort leaves the gates that were entered and not left yet. A hook of one may panic; to
// those further out that is a call which did not return, as if they were nested.
func (g gates) abort(ctx context.Context, tickets *[maxGates]Ticket, entered int, clock *Clock) {
	defer func() {
		if entered > 0 {
			g.abort(ctx, tickets, entered, clock)
		}
	}()
	for entered > 0 {
		entered--
		g[entered].Leave(ctx, tickets[entered], ErrAborted, clock)
	}
}

// nameOf returns how a policy prints: its String, or its type.
func nameOf(p Policy) string {
	if s, ok := p.(fmt.Stringer); ok {
		return s.String()
	}
	return fmt.Sprintf("%T", p)
}
