package thole

import (
	"context"
	"fmt"
	"reflect"
)

// ErrTooManyKeys is returned by [Keyed] and [PerTarget] for a call with a new key while all
// the MaxKeys policies they may remember are in use. It matches [ErrRejected].
var ErrTooManyKeys = Rejection(ReasonFull, "thole: too many keys in use")

// Keyed returns a policy that has a policy of its own for each key: key names the call's key,
// make creates the policy on the key's first use (nil means: no policy). Their number and idle
// time are bounded by cfg; one that is in use (an open breaker, a permit not given back, a
// call under way) is never forgotten. It panics if cfg is invalid or a function is nil.
func Keyed[K comparable](key func(context.Context) K, make func(K) Policy, cfg KeyedConfig) Policy {
	if key == nil {
		panic("thole: Keyed: key is nil: want a function")
	}
	if make == nil {
		panic("thole: Keyed: make is nil: want a function")
	}
	return newKeyed("keyed", key, make, cfg)
}

// PerTarget is [Keyed] by [TargetFrom], with the default bounds: a policy for each destination.
func PerTarget(make func(target string) Policy) Policy {
	if make == nil {
		panic("thole: PerTarget: make is nil: want a function")
	}
	k := newKeyed(kindPerTarget, TargetFrom, make, KeyedConfig{})
	k.quick = true
	return k
}

type keyed[K comparable] struct {
	kind  string
	key   func(context.Context) K
	quick bool // key takes no time; one that is not ours may
	keys  *Keys[K, made]
}

// made is the policy of a key, nil if it has none, and what of it each call would have to find
// out anew.
type made struct {
	policy   Policy
	timed    Timed // the same, if it can share a clock
	blocking bool
}

// InUse is the policy's.
func (m made) InUse() bool { return inUse(m.policy) }

func newKeyed[K comparable](kind string, key func(context.Context) K, newPolicy func(K) Policy, cfg KeyedConfig) *keyed[K] {
	return &keyed[K]{kind: kind, key: key, keys: NewKeys(func(key K) made {
		p := newPolicy(key)
		if p == nil {
			return made{}
		}
		m := made{policy: p, blocking: Blocking(p)}
		if g, ok := p.(Gate); ok && !embeds(g) {
			m.timed = single{g}
		} else if t, ok := timed(p); ok {
			m.timed = t
		}
		return m
	}, cfg)}
}

// Do runs fn through the policy of ctx's key.
func (k *keyed[K]) Do(ctx context.Context, fn func(context.Context) error) error {
	return k.doLasting(ctx, fn, fn, nil, nil)
}

// doLasting implements lasting.
func (k *keyed[K]) doLasting(ctx context.Context, fn, anew func(context.Context) error, last func() func(context.Context) error, clock *Clock) error {
	if err := clock.Err(ctx); err != nil {
		return err
	}
	h, fresh := k.keys.hold(k.key(ctx))
	if h == nil {
		return ErrTooManyKeys
	}
	defer h.Release()
	if fresh || !k.quick {
		clock.Forget()
	}
	m := &h.value
	if m.policy == nil {
		return fn(ctx)
	}
	if !m.blocking && last != nil {
		fn = last()
		anew = fn
	}
	if m.timed != nil && clock != nil {
		return m.timed.DoTimed(ctx, fn, clock)
	}
	// Nobody knows what time the policy takes before it runs what is inside, nor how often it does.
	return m.policy.Do(ctx, anew)
}

// Stats tells how many keys there are.
func (k *keyed[K]) Stats() KeysStats { return k.keys.Stats() }

// InUse reports whether the policy of any key is in use.
func (k *keyed[K]) InUse() bool {
	for _, m := range k.keys.Range {
		if m.InUse() {
			return true
		}
	}
	return false
}

// String returns "perTarget(breaker)", with the policy of some key as the example; "perTarget"
// while there is none.
func (k *keyed[K]) String() string {
	if p := k.sample(); p != nil {
		return k.kind + "(" + nameOf(p) + ")"
	}
	return k.kind
}

// Describe tells the bounds, and describes the policy of some key if there is one.
func (k *keyed[K]) Describe() Description {
	d := Description{
		Kind:  k.kind,
		Keyed: true,
		Settings: []Setting{
			{"MaxKeys", fmt.Sprint(k.keys.cfg.MaxKeys)},
			{"IdleFor", k.keys.cfg.IdleFor.String()},
		},
	}
	if p := k.sample(); p != nil {
		d.Inner = []Policy{p}
		d.Shared = k.shared(p)
	}
	return d
}

func (k *keyed[K]) sample() Policy {
	for _, m := range k.keys.Range {
		if m.policy != nil {
			return m.policy
		}
	}
	return nil
}

// shared reports whether two keys have the very same policy, which a make function gives by
// mistake when it returns one made outside of it. Policies without fields have nothing to share,
// and Go may give all of them one address.
func (k *keyed[K]) shared(sample Policy) bool {
	t := reflect.TypeOf(sample)
	if t.Kind() != reflect.Pointer || t.Elem().Size() == 0 {
		return false
	}
	n := 0
	for _, m := range k.keys.Range {
		if m.policy == sample {
			n++
		}
	}
	return n > 1
}
