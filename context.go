package thole

import (
	"context"
	"sync/atomic"
)

// Attempt tells which run of fn this is within one call. Both numbers are 0 on the first.
type Attempt struct {
	Number int // how many times a retry has run fn before
	Hedge  int // which of the concurrent attempts of a hedge this is
}

// The context types below hold their value in the same allocation as the context, and
// serve as their own keys' answer: one small allocation where context.WithValue makes two.
type (
	attemptKey struct{}
	targetKey  struct{}
	onceKey    struct{}
)

type attemptCtx struct {
	context.Context
	attempt Attempt
}

func (c *attemptCtx) Value(key any) any {
	if key == (attemptKey{}) {
		return &c.attempt
	}
	return c.Context.Value(key)
}

// WithAttempt returns a context that tells fn, through [AttemptFrom], which attempt it is.
// It is for policies that run fn more than once; a first attempt needs no such context.
func WithAttempt(ctx context.Context, a Attempt) context.Context {
	return &attemptCtx{ctx, a}
}

// AttemptFrom returns which attempt ctx belongs to; the zero Attempt, the first, where no
// policy said otherwise.
func AttemptFrom(ctx context.Context) Attempt {
	if a, ok := ctx.Value(attemptKey{}).(*Attempt); ok {
		return *a
	}
	return Attempt{}
}

type onceCtx struct{ context.Context }

func (c onceCtx) Value(key any) any {
	if key == (onceKey{}) {
		return true
	}
	return c.Context.Value(key)
}

// Once returns a context which says that fn may have effects and must run at most once.
// Retry and hedge obey it. An edge sets it for calls that are not idempotent.
func Once(ctx context.Context) context.Context {
	return onceCtx{ctx}
}

// Repeatable reports whether fn may be run again: true unless [Once] said no.
func Repeatable(ctx context.Context) bool {
	return ctx.Value(onceKey{}) == nil
}

type targetCtx struct {
	context.Context
	target string
}

func (c *targetCtx) Value(key any) any {
	if key == (targetKey{}) {
		return &c.target
	}
	return c.Context.Value(key)
}

// WithTarget returns a context that names the call's destination, which [PerTarget] keys
// on. The edges set it: scheme://host:port for HTTP, the dial target for gRPC.
func WithTarget(ctx context.Context, target string) context.Context {
	return &targetCtx{ctx, target}
}

// TargetFrom returns the destination that [WithTarget] named, or "".
func TargetFrom(ctx context.Context) string {
	if t, ok := ctx.Value(targetKey{}).(*string); ok {
		return *t
	}
	return ""
}

// CallInfo is what an edge has to say of a call to the policies around it: what [WithTarget] and
// [Once] would say, and the [Lifetime] of its result.
type CallInfo struct {
	Target   string
	Once     bool      // false leaves it to what the caller said
	Lifetime *Lifetime // nil if no result outlives the call
}

// CallContext is the context that an edge gives to its policies: the caller's, with a CallInfo. A
// Lifetime further out is that of some other result, and hidden; so is the attempt of a hedge
// further out, which this call's success does not settle (see [Claim]). It is a struct that an edge can
// make part of what it allocates for a call anyway, and answers in one step. The Info, which
// calls of a kind may share, must not be nil, nor change while it is in use.
type CallContext struct {
	context.Context
	Info *CallInfo
}

// Value answers for the target, Once and the lifetime, and asks the caller's context for all
// else.
func (c *CallContext) Value(key any) any {
	switch key.(type) {
	case targetKey:
		return &c.Info.Target
	case onceKey:
		if c.Info.Once {
			return true
		}
	case lifetimeKey:
		return c.Info.Lifetime
	case abandonmentKey:
		return nil
	}
	return c.Context.Value(key)
}

type unmarkedCtx struct{ context.Context }

func (c unmarkedCtx) Value(key any) any {
	switch key.(type) {
	case attemptKey, targetKey, onceKey, lifetimeKey, depositKey, abandonmentKey:
		return nil
	}
	return c.Context.Value(key)
}

// Unmarked returns a context like ctx, of which [AttemptFrom], [TargetFrom], [Repeatable],
// [LifetimeFrom], [Claim] and budgets learn nothing that was said before. A server's edge gives
// it to the handler: that the handler runs once says nothing of the calls it makes itself.
func Unmarked(ctx context.Context) context.Context {
	return unmarkedCtx{ctx}
}

// Abandonment is what a policy that runs attempts side by side lays over the context of each.
// By it the policy that gives an attempt up and the edge whose attempt succeeds agree on who
// was first: see [Claim]. Make one with its Context set.
type Abandonment struct {
	context.Context
	state atomic.Int32
}

// What has been said of an attempt: that it has claimed its call or has been given up, of which only
// what came first holds; and, beside either, that a success within it was too late.
const (
	attemptClaimed int32 = 1 << iota
	attemptAbandoned
	attemptForfeited
)

type abandonmentKey struct{}

// Value returns the abandonment for the key of [Claim], else what the context has.
func (a *Abandonment) Value(key any) any {
	if key == (abandonmentKey{}) {
		return a
	}
	return a.Context.Value(key)
}

// Abandon says that nobody will hear of the attempt's result any more. It reports false if the
// attempt has claimed its call: then its success is on the way, and has to be waited for.
func (a *Abandonment) Abandon() bool {
	return a.say(attemptAbandoned, attemptClaimed)
}

func (a *Abandonment) claim() bool { return a.say(attemptClaimed, attemptAbandoned) }

// say says what of the attempt, and reports true, unless other has been said.
func (a *Abandonment) say(what, other int32) bool {
	for {
		said := a.state.Load()
		if said&other != 0 {
			return false
		}
		if said&what != 0 || a.state.CompareAndSwap(said, said|what) {
			return true
		}
	}
}

// Claim reports whether the attempt that got ctx, and has succeeded, may say so: it has not
// been given up, by a hedge that has its result or has returned without it. The edges ask
// before such an attempt settles the call, since a policy further out may be making the call
// once more when nobody hears of this one. The hedges asked are those of the call itself: the
// search ends at the edge's [CallContext], for [Do] at the context that it got. Once Claim has
// said true, the attempt is waited for.
func Claim(ctx context.Context) bool { return claimBefore(ctx, nil) }

// claimBefore is [Claim] for a call whose caller's context was end: the hedges that end knows of
// are around some other call.
func claimBefore(ctx, end context.Context) bool {
	for a, others := attemptsWithin(ctx, end); a != nil && a != others; a = abandonmentOf(a.Context) {
		if !a.claim() {
			return false
		}
	}
	return true
}

// Forfeit says that the attempt that got ctx has succeeded too late: its call was settled by
// another, or it has been given up. It returns what the edge then says to the policies,
// context.Canceled, as if the attempt had been cancelled a moment earlier; and though ctx may
// not have ended yet, [OutcomeOf] holds it against nobody.
func Forfeit(ctx context.Context) error { return forfeitBefore(ctx, nil) }

// forfeitBefore is to Forfeit what claimBefore is to Claim. It takes no attempt its claim, which another
// run within it may have made or be about to make; and where one has been given up, those around it
// hear nothing of the success.
func forfeitBefore(ctx, end context.Context) error {
	for a, others := attemptsWithin(ctx, end); a != nil && a != others; a = abandonmentOf(a.Context) {
		if a.state.Or(attemptForfeited)&attemptAbandoned != 0 {
			break
		}
	}
	return context.Canceled
}

// attemptsWithin returns the innermost attempt that ctx belongs to, and the first further out that
// is not of the call, since end, unless that is nil, knows of it too. Where there is no hedge it
// does not ask end.
func attemptsWithin(ctx, end context.Context) (innermost, others *Abandonment) {
	innermost = abandonmentOf(ctx)
	if innermost != nil && end != nil {
		others = abandonmentOf(end)
	}
	return innermost, others
}

// isAbandoned reports whether ctx is that of an attempt, or within one, that has been given up or has
// succeeded too late.
func isAbandoned(ctx context.Context) bool {
	for a := abandonmentOf(ctx); a != nil; a = abandonmentOf(a.Context) {
		if a.state.Load()&(attemptAbandoned|attemptForfeited) != 0 {
			return true
		}
	}
	return false
}

// abandonmentOf returns that of the innermost attempt that ctx belongs to, or nil.
func abandonmentOf(ctx context.Context) *Abandonment {
	a, _ := ctx.Value(abandonmentKey{}).(*Abandonment)
	return a
}
