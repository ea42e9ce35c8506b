package thole

import (
	"errors"
	"fmt"
	"maps"
	"sync"
	"sync/atomic"
	"time"
)

// KeyedConfig bounds how many keys [Keyed], [PerTarget] and [Keys] remember.
type KeyedConfig struct {
	MaxKeys int           // most keys at a time: 0 means 10,000, at most 10 million
	IdleFor time.Duration // a key unused for this long may be forgotten: 0 means 10 min, at least 1 ms
}

const maxKeysLimit = 10_000_000

// Validate reports what is wrong with the configuration, naming each field.
func (c KeyedConfig) Validate() error {
	var errs []error
	if c.MaxKeys < 0 || c.MaxKeys > maxKeysLimit {
		errs = append(errs, fmt.Errorf("thole: KeyedConfig.MaxKeys is %d: want 0 (10,000) to %d", c.MaxKeys, maxKeysLimit))
	}
	if c.IdleFor < 0 || c.IdleFor > maxDuration || c.IdleFor > 0 && c.IdleFor < time.Millisecond {
		errs = append(errs, fmt.Errorf("thole: KeyedConfig.IdleFor is %v: want 0 (10 min), or 1 ms to %d h", c.IdleFor, int64(maxDuration.Hours())))
	}
	return errors.Join(errs...)
}

func (c KeyedConfig) withDefaults() KeyedConfig {
	if c.MaxKeys == 0 {
		c.MaxKeys = 10_000
	}
	if c.IdleFor == 0 {
		c.IdleFor = 10 * time.Minute
	}
	return c
}

// Keys holds values made on demand, one per key, bounded in number and idle time. It is what
// [Keyed] keeps its policies in, for those who need something else per key.
//
// A value that is held, or that says by a method InUse() bool that forgetting it would lose
// something (an open breaker, a permit in use), is never forgotten. InUse is asked under a
// lock: it must be quick, and must not use the Keys. When all MaxKeys values
// are of that kind a new key is refused; else the one longest unused, roughly, makes place:
// the choice is by second chance (CLOCK; Corbató, "A Paging Experiment with the Multics
// System", 1968). Idle values are dropped as new keys come; there is no background goroutine.
//
// All methods are safe for concurrent use. Finding a known key takes no lock.
type Keys[K comparable, V any] struct {
	make func(K) V
	cfg  KeyedConfig
	base time.Time

	// known is a copy of live that is never written, for lookups without a lock. It lags
	// behind by some keys, and is made anew after as many misses as there are keys.
	known atomic.Pointer[map[K]*Held[K, V]]

	mu       sync.Mutex
	live     map[K]*Held[K, V]
	clock    []*Held[K, V] // the values of live, for the clock hand
	hand     int
	misses   int
	swept    time.Duration // when idle values were looked for last
	crowded  time.Duration // until then no search for a place: the last one found all in use
	evicted  int
	rejected int
}

// Held is a value in use by its holder, who must call Release once when done with it.
type Held[K comparable, V any] struct {
	keys  *Keys[K, V]
	key   K
	once  sync.Once
	ready atomic.Bool
	value V

	holders  atomic.Int32 // negative: forgotten
	used     atomic.Bool  // since the clock hand came by
	index    int          // place in clock
	lastSeen time.Duration
}

// forgotten is so far below zero that no number of holders brings it back.
const forgotten int32 = -1 << 30

// NewKeys returns an empty set whose values make creates, each on the first use of its key.
// make runs outside every lock, once per key at a time. It panics if cfg is invalid or make
// is nil.
func NewKeys[K comparable, V any](make func(K) V, cfg KeyedConfig) *Keys[K, V] {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	if make == nil {
		panic("thole: NewKeys: make is nil: want a function")
	}
	k := &Keys[K, V]{
		make: make,
		cfg:  cfg.withDefaults(),
		base: clockBase(),
		live: map[K]*Held[K, V]{},
	}
	k.known.Store(&map[K]*Held[K, V]{})
	k.swept = time.Since(k.base)
	return k
}

// Hold returns the value of key, made if need be, and keeps it from being forgotten until
// Release. It reports false, and holds nothing, when MaxKeys other values are in use, or if key is not equal to itself (NaN).
func (k *Keys[K, V]) Hold(key K) (*Held[K, V], bool) {
	h, _ := k.hold(key)
	return h, h != nil
}

// hold is Hold, with nil for nothing, and reports whether the value had to be made, by whomever,
// which takes its time.
func (k *Keys[K, V]) hold(key K) (h *Held[K, V], made bool) {
	for {
		h := (*k.known.Load())[key]
		if h == nil || !h.hold() {
			if h = k.find(key); h == nil {
				return nil, made
			}
		} else if !h.used.Load() {
			h.used.Store(true)
		}
		if h.ready.Load() {
			return h, made
		}
		if made = true; h.create() {
			return h, made
		}
		h.Release() // its make panicked in another goroutine: try anew
	}
}

// Value returns the value.
func (h *Held[K, V]) Value() V { return h.value }

// Release ends the hold.
func (h *Held[K, V]) Release() { h.holders.Add(-1) }

// hold adds a holder, unless the value is forgotten.
func (h *Held[K, V]) hold() bool {
	if h.holders.Add(1) > 0 {
		return true
	}
	h.holders.Add(-1)
	return false
}

// create makes the value, or waits for whoever does. If make panics the key is forgotten
// and the panic goes up.
func (h *Held[K, V]) create() bool {
	h.once.Do(func() {
		defer func() {
			if !h.ready.Load() {
				h.keys.discard(h)
			}
		}()
		h.value = h.keys.make(h.key)
		h.ready.Store(true)
	})
	return h.ready.Load()
}

// find is Hold's way for a key that is not in known: it adds it if there is a place.
func (k *Keys[K, V]) find(key K) *Held[K, V] {
	if key != key {
		return nil // NaN: a map would never find it again
	}
	k.mu.Lock()
	defer k.mu.Unlock()
	h := k.live[key]
	if h == nil {
		now := time.Since(k.base)
		k.sweep(now)
		if len(k.live) >= k.cfg.MaxKeys && !k.makePlace(now) {
			k.rejected++
			return nil
		}
		// Not marked as used: a key that comes only once is the first to go.
		h = &Held[K, V]{keys: k, key: key, index: len(k.clock), lastSeen: now}
		k.live[key] = h
		k.clock = append(k.clock, h)
	} else {
		h.used.Store(true)
	}
	h.holders.Add(1) // live under the lock is never forgotten
	if k.misses++; k.misses >= len(k.live) {
		k.misses = 0
		known := maps.Clone(k.live)
		k.known.Store(&known)
	}
	return h
}

// sweep drops the values idle for long, from time to time. Times that lie ahead are of another
// clock, outside of the synctest bubble that now is of.
func (k *Keys[K, V]) sweep(now time.Duration) {
	if since := now - k.swept; 0 <= since && since < k.cfg.IdleFor/2 {
		return
	}
	k.swept = now
	for i := len(k.clock) - 1; i >= 0; i-- {
		h := k.clock[i]
		if h.used.Swap(false) || h.lastSeen > now {
			h.lastSeen = now
		} else if now-h.lastSeen >= k.cfg.IdleFor && !k.forget(h) {
			h.lastSeen = now // held or in use, and idle only from then on
		}
	}
}

// makePlace forgets one value that is not in use, preferably one not used since the hand
// last passed it. Having found none it does not search again for a while, so that a flood of
// new keys costs no more than a look at the clock each.
func (k *Keys[K, V]) makePlace(now time.Duration) bool {
	pause := min(100*time.Millisecond, k.cfg.IdleFor)
	if until := k.crowded - now; 0 < until && until <= pause {
		return false
	}
	for range 2 * len(k.clock) {
		if k.hand >= len(k.clock) {
			k.hand = 0
		}
		h := k.clock[k.hand]
		k.hand++ // past the newest value too, which takes the place of one that is forgotten
		if h.used.Swap(false) {
			h.lastSeen = now
		} else if k.forget(h) {
			return true
		}
	}
	k.crowded = now + pause
	return false
}

// forget removes a value, unless it is held or in use.
func (k *Keys[K, V]) forget(h *Held[K, V]) bool {
	if !h.holders.CompareAndSwap(0, forgotten) {
		return false
	}
	if h.ready.Load() && inUse(any(h.value)) {
		h.holders.Add(-forgotten)
		return false
	}
	k.remove(h)
	k.evicted++
	return true
}

// discard removes a value that could not be made, and releases the hold of whoever tried;
// other holders find out by themselves. Held until then, it cannot have been forgotten.
func (k *Keys[K, V]) discard(h *Held[K, V]) {
	k.mu.Lock()
	defer k.mu.Unlock()
	h.holders.Add(forgotten - 1)
	k.remove(h)
}

// remove takes h out; the last one of the clock moves to its place.
func (k *Keys[K, V]) remove(h *Held[K, V]) {
	delete(k.live, h.key)
	last := len(k.clock) - 1
	k.clock[h.index] = k.clock[last]
	k.clock[h.index].index = h.index
	k.clock[last] = nil
	k.clock = k.clock[:last]
}

// KeysStats is a snapshot of a [Keys], [Keyed] or [PerTarget].
type KeysStats struct {
	Keys     int // remembered now
	Evicted  int // forgotten so far
	Rejected int // calls refused because all MaxKeys values were in use
}

// Stats returns a snapshot, having dropped what is idle.
func (k *Keys[K, V]) Stats() KeysStats {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.sweep(time.Since(k.base))
	return KeysStats{Keys: len(k.live), Evicted: k.evicted, Rejected: k.rejected}
}

// Range calls yield for each remembered key and its value until it returns false, in no
// order. Values may be added and forgotten meanwhile.
func (k *Keys[K, V]) Range(yield func(K, V) bool) {
	k.mu.Lock()
	held := make([]*Held[K, V], 0, len(k.clock))
	for _, h := range k.clock {
		if h.ready.Load() {
			held = append(held, h)
		}
	}
	k.mu.Unlock()
	for _, h := range held {
		if !yield(h.key, h.value) {
			return
		}
	}
}

// inUse reports whether v says that forgetting it would lose something.
func inUse[V any](v V) bool {
	u, ok := any(v).(interface{ InUse() bool })
	return ok && u.InUse()
}
