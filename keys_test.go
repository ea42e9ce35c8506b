package thole_test

import (
	"context"
	"math"
	"math/rand/v2"
	"runtime"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/thole-go/thole"
)

// pinned is a value that can say it is in use.
type pinned struct {
	key   string
	inUse atomic.Bool
	runs  atomic.Int64
}

func (p *pinned) InUse() bool { return p.inUse.Load() }

func (p *pinned) Do(ctx context.Context, fn func(context.Context) error) error {
	p.runs.Add(1)
	return fn(ctx)
}

func TestKeys_makesOneValuePerKey(t *testing.T) {
	made := map[string]int{}
	var mu sync.Mutex
	keys := thole.NewKeys(func(key string) *pinned {
		mu.Lock()
		defer mu.Unlock()
		made[key]++
		return &pinned{key: key}
	}, thole.KeyedConfig{})
	var g errgroup.Group
	for range 8 {
		g.Go(func() error {
			for i := range 2000 {
				key := strconv.Itoa(i % 100)
				h, ok := keys.Hold(key)
				if !ok || h.Value().key != key {
					t.Errorf("key %s: %v", key, ok)
				}
				h.Release()
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	assert.Len(t, made, 100)
	for key, n := range made {
		assert.Equal(t, 1, n, key)
	}
}

func TestKeys_areBoundedAndKeepWhatIsInUse(t *testing.T) {
	keys := thole.NewKeys(func(key string) *pinned { return &pinned{key: key} }, thole.KeyedConfig{MaxKeys: 10})
	open, _ := keys.Hold("open")
	open.Value().inUse.Store(true)
	open.Release()
	held, _ := keys.Hold("held")
	for i := range 1000 {
		h, ok := keys.Hold(strconv.Itoa(i))
		require.True(t, ok)
		h.Release()
		require.LessOrEqual(t, keys.Stats().Keys, 10)
	}
	again, _ := keys.Hold("open")
	assert.Same(t, open.Value(), again.Value())
	again.Release()
	again, _ = keys.Hold("held")
	assert.Same(t, held.Value(), again.Value())
	again.Release()
	held.Release()
	assert.Equal(t, 1002-10, keys.Stats().Evicted)
}

func TestKeys_refuseANewKeyWhenAllAreInUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := thole.NewKeys(func(key string) *pinned { return &pinned{key: key} }, thole.KeyedConfig{MaxKeys: 3})
		var held []*thole.Held[string, *pinned]
		for _, key := range []string{"a", "b", "c"} {
			h, ok := keys.Hold(key)
			require.True(t, ok)
			held = append(held, h)
		}
		_, ok := keys.Hold("d")
		require.False(t, ok)
		h, ok := keys.Hold("a")
		require.True(t, ok, "a known key is served")
		h.Release()
		held[1].Release()
		time.Sleep(100 * time.Millisecond)
		_, ok = keys.Hold("d")
		require.True(t, ok)
		assert.Equal(t, thole.KeysStats{Keys: 3, Evicted: 1, Rejected: 1}, keys.Stats())
	})
}

func TestKeys_preferToForgetWhatIsNotUsed(t *testing.T) {
	keys := thole.NewKeys(func(key string) *pinned { return &pinned{key: key} }, thole.KeyedConfig{MaxKeys: 100})
	hot, _ := keys.Hold("hot")
	hot.Release()
	for i := range 2000 {
		h, _ := keys.Hold(strconv.Itoa(i))
		h.Release()
		h, _ = keys.Hold("hot")
		require.Same(t, hot.Value(), h.Value())
		h.Release()
	}
}

func TestKeys_forgetWhatIsIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := thole.NewKeys(func(key string) *pinned { return &pinned{key: key} }, thole.KeyedConfig{IdleFor: time.Minute})
		use := func(key string) {
			h, _ := keys.Hold(key)
			h.Release()
		}
		use("idle")
		for range 10 {
			use("busy")
			time.Sleep(20 * time.Second)
			keys.Stats()
		}
		assert.Equal(t, 1, keys.Stats().Keys)
		time.Sleep(2 * time.Minute)
		keys.Stats()
		time.Sleep(2 * time.Minute)
		assert.Equal(t, 0, keys.Stats().Keys)
	})
}

// A value is not idle while somebody holds it, or it is in use, however long that is.
func TestKeys_idlenessBeginsWithTheEndOfUse(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		keys := thole.NewKeys(func(key string) *pinned { return &pinned{key: key} }, thole.KeyedConfig{IdleFor: time.Minute})
		held, _ := keys.Hold("held")
		h, _ := keys.Hold("in use")
		h.Value().inUse.Store(true)
		h.Release()
		for range 5 {
			time.Sleep(time.Minute)
			require.Equal(t, 2, keys.Stats().Keys)
		}
		held.Release()
		h.Value().inUse.Store(false)
		time.Sleep(59 * time.Second)
		require.Equal(t, 2, keys.Stats().Keys)
		time.Sleep(time.Minute)
		require.Zero(t, keys.Stats().Keys)
	})
}

func TestKeys_aPanicInMakeLeavesNothingBehind(t *testing.T) {
	fail := true
	keys := thole.NewKeys(func(key string) *pinned {
		if fail {
			panic("no")
		}
		return &pinned{key: key}
	}, thole.KeyedConfig{MaxKeys: 1})
	for range 3 {
		require.PanicsWithValue(t, "no", func() { keys.Hold("a") })
	}
	assert.Equal(t, 0, keys.Stats().Keys)
	fail = false
	h, ok := keys.Hold("b")
	require.True(t, ok)
	assert.Equal(t, "b", h.Value().key)
}

func TestKeys_refuseNaN(t *testing.T) {
	keys := thole.NewKeys(func(float64) int { return 1 }, thole.KeyedConfig{})
	_, ok := keys.Hold(math.NaN())
	require.False(t, ok)
	assert.Equal(t, 0, keys.Stats().Keys)
}

// Whatever is held is never made a second time, while keys come and go.
func TestKeys_stress(t *testing.T) {
	var live [64]atomic.Int64
	keys := thole.NewKeys(func(key int) *int { live[key].Add(1); return &key }, thole.KeyedConfig{MaxKeys: 32, IdleFor: time.Millisecond})
	var g errgroup.Group
	for w := range uint64(8) {
		g.Go(func() error {
			r := rand.New(rand.NewPCG(w, 2))
			for range 20_000 {
				key := r.IntN(64)
				h, ok := keys.Hold(key)
				if !ok {
					continue
				}
				if *h.Value() != key {
					t.Error("the value of another key")
				}
				made := live[key].Load()
				runtime.Gosched()
				if h2, ok := keys.Hold(key); ok {
					if h2 != h || live[key].Load() != made {
						t.Error("made again while held")
					}
					h2.Release()
				}
				h.Release()
			}
			return nil
		})
	}
	require.NoError(t, g.Wait())
	require.LessOrEqual(t, keys.Stats().Keys, 32)
}

func TestKeyed_rule04_givesEachKeyItsOwnPolicy(t *testing.T) {
	made := map[string]*pinned{}
	p := thole.PerTarget(func(target string) thole.Policy {
		made[target] = &pinned{key: target}
		return made[target]
	})
	assert.Equal(t, "perTarget", p.(interface{ String() string }).String())
	for i := range 10 {
		ctx := thole.WithTarget(t.Context(), "host"+strconv.Itoa(i%2))
		require.NoError(t, p.Do(ctx, ok))
	}
	assert.Len(t, made, 2)
	assert.EqualValues(t, 5, made["host0"].runs.Load())
	assert.Equal(t, "perTarget(*thole_test.pinned)", p.(interface{ String() string }).String())
}

func TestKeyed_aNilPolicyIsNoPolicy(t *testing.T) {
	p := thole.Keyed(thole.TargetFrom, func(string) thole.Policy { return nil }, thole.KeyedConfig{})
	require.NoError(t, p.Do(t.Context(), ok))
}

func TestKeyed_refusesTooManyKeysAsARejection(t *testing.T) {
	p := thole.Keyed(thole.TargetFrom, func(string) thole.Policy { return quietLayer{} }, thole.KeyedConfig{MaxKeys: 1})
	err := p.Do(thole.WithTarget(t.Context(), "a"), func(ctx context.Context) error {
		return p.Do(thole.WithTarget(ctx, "b"), func(context.Context) error { t.Error("fn ran"); return nil })
	})
	require.ErrorIs(t, err, thole.ErrTooManyKeys)
	require.ErrorIs(t, err, thole.ErrRejected)
	reason, _ := thole.ReasonOf(err)
	assert.Equal(t, thole.ReasonFull, reason)
}

func TestKeyed_doneContextMakesNothing(t *testing.T) {
	p := thole.PerTarget(func(string) thole.Policy { t.Error("made"); return nil })
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	require.Equal(t, context.Canceled, p.Do(ctx, ok))
}

func TestKeyedConfig_rule05_errorsNameFieldValueAndRange(t *testing.T) {
	err := thole.KeyedConfig{MaxKeys: -1, IdleFor: time.Nanosecond}.Validate()
	require.EqualError(t, err, "thole: KeyedConfig.MaxKeys is -1: want 0 (10,000) to 10000000\n"+
		"thole: KeyedConfig.IdleFor is 1ns: want 0 (10 min), or 1 ms to 876000 h")
	require.Panics(t, func() {
		thole.Keyed(thole.TargetFrom, func(string) thole.Policy { return nil }, thole.KeyedConfig{MaxKeys: -1})
	})
	require.Panics(t, func() { thole.PerTarget(nil) })
	require.Panics(t, func() { thole.Keyed[string](nil, nil, thole.KeyedConfig{}) })
}

// Values whose making fails are discarded once, whoever else wants their place.
func TestKeys_makesThatPanicAndPlacesThatAreSought(t *testing.T) {
	var n atomic.Int64
	keys := thole.NewKeys(func(int) int {
		if n.Add(1)%2 == 0 {
			panic("no")
		}
		return 1
	}, thole.KeyedConfig{MaxKeys: 2, IdleFor: time.Millisecond})
	var wg sync.WaitGroup
	for w := range 32 {
		wg.Go(func() {
			for i := range 500 {
				func() {
					defer func() { _ = recover() }()
					if h, ok := keys.Hold((w + i) % 5); ok {
						h.Release()
					}
				}()
			}
		})
	}
	wg.Wait()
	remembered := keys.Stats().Keys // which forgets what has been idle for a moment
	found := 0
	for range keys.Range {
		found++
	}
	assert.Equal(t, remembered, found)
	assert.LessOrEqual(t, found, 2)
}

func TestKeys_rule07_madeOutsideTheBubbleTheyAreUsedIn(t *testing.T) {
	keys := thole.NewKeys(func(key int) int { return key }, thole.KeyedConfig{MaxKeys: 3})
	synctest.Test(t, func(t *testing.T) {
		for key := range 100 {
			h, ok := keys.Hold(key)
			require.True(t, ok)
			h.Release()
		}
		require.Equal(t, 3, keys.Stats().Keys)
	})
}

// Outside of the bubble all keys were in use, and times were noted that lie years ahead in it.
func TestKeys_rule07_crowdedOutsideTheBubbleTheyAreUsedIn(t *testing.T) {
	keys := thole.NewKeys(func(key int) int { return key }, thole.KeyedConfig{MaxKeys: 1, IdleFor: time.Minute})
	h, _ := keys.Hold(0)
	_, ok := keys.Hold(1)
	require.False(t, ok)
	h.Release()
	synctest.Test(t, func(t *testing.T) {
		h, ok := keys.Hold(1)
		require.True(t, ok)
		h.Release()
		time.Sleep(time.Minute)
		require.Zero(t, keys.Stats().Keys)
	})
}
