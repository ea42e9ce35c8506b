package ratelimit

import (
	"sync/atomic"

	"github.com/thole-go/thole"
)

// Keyed is a limiter with a token bucket for each key: a user, an address, a tenant. It is
// made for a decision about each of many calls; a policy per key, for Do, is thole.Keyed.
//
// The number of keys and their idle time are bounded. A bucket whose tokens have not all come
// back is never forgotten, since the key would get them anew: so when MaxKeys keys are in
// debt a call with a new key is refused. Choose MaxKeys well above the number of keys that
// come within the time in which Burst tokens come back.
//
// All methods are safe for concurrent use.
type Keyed[K comparable] struct {
	keys     *thole.Keys[K, *cell]
	cfg      TokenBucketConfig
	rejected atomic.Int64
}

// NewKeyed returns a limiter whose keys get a bucket by cfg each, within the given bounds
// (thole.KeyedConfig{} is 10,000 keys and 10 minutes). MaxWait has no effect. It panics if cfg
// or bounds are invalid.
func NewKeyed[K comparable](cfg TokenBucketConfig, bounds thole.KeyedConfig) *Keyed[K] {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	cfg = cfg.withDefaults()
	shared := newShared(cfg)
	return &Keyed[K]{
		keys: thole.NewKeys(func(K) *cell { return newCell(shared) }, bounds),
		cfg:  cfg,
	}
}

// Allow takes a token of key's bucket if there is one, and reports whether it did.
func (k *Keyed[K]) Allow(key K) bool { return k.AllowN(key, 1) }

// AllowN takes n tokens of key's bucket if there are as many, and reports whether it did;
// otherwise it takes none. It is false for a new key when MaxKeys others are in debt, and for
// a key that is not equal to itself (a NaN); true for those in Shadow.
func (k *Keyed[K]) AllowN(key K, n int) bool {
	h, ok := k.keys.Hold(key)
	if !ok {
		return k.cfg.Shadow
	}
	ok = h.Value().try(n)
	h.Release()
	if ok {
		return true
	}
	k.rejected.Add(1)
	return k.cfg.Shadow
}

// Len returns how many keys are remembered.
func (k *Keyed[K]) Len() int { return k.keys.Stats().Keys }

// KeyedStats is a snapshot of a [Keyed].
type KeyedStats struct {
	Keys     int // keys remembered now
	Evicted  int // keys forgotten so far
	Rejected int // calls whose key had no token; in Shadow they went ahead
	Crowded  int // calls refused since MaxKeys other keys were in debt
}

// Stats returns a snapshot.
func (k *Keyed[K]) Stats() KeyedStats {
	s := k.keys.Stats()
	return KeyedStats{Keys: s.Keys, Evicted: s.Evicted, Rejected: int(k.rejected.Load()), Crowded: s.Rejected}
}

// String returns "keyed ratelimit[name]".
func (k *Keyed[K]) String() string { return k.Describe().String() }

// Describe tells the configuration of each bucket.
func (k *Keyed[K]) Describe() thole.Description {
	d := k.cfg.describe()
	d.Kind, d.Keyed, d.MaxWait = "keyed ratelimit", true, 0
	return d
}
