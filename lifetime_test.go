package thole_test

import (
	"context"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestLifetime_releasesOnceInOrder(t *testing.T) {
	ctx, l := thole.WithLifetime(t.Context())
	child, cancel := context.WithCancel(ctx)
	defer cancel()
	require.Same(t, l, thole.LifetimeFrom(child))
	var log []int
	for i := range 10 { // more than fit into the first block
		require.True(t, l.Adopt(func() { log = append(log, i) }))
	}
	l.End()
	l.End()
	assert.Equal(t, []int{0, 1, 2, 3, 4, 5, 6, 7, 8, 9}, log)
	assert.False(t, l.Adopt(func() {}))
}

func TestLifetime_rewindsAnAttempt(t *testing.T) {
	_, l := thole.WithLifetime(t.Context())
	var log []string
	adopt := func(s string) { l.Adopt(func() { log = append(log, s) }) }
	adopt("outside")
	mark := l.Mark()
	adopt("first")
	l.Rewind(mark)
	adopt("second")
	l.Rewind(mark)
	adopt("third")
	assert.Equal(t, []string{"first", "second"}, log)
	l.End()
	assert.Equal(t, []string{"first", "second", "outside", "third"}, log)
}

func TestLifetime_nilAdoptsNothing(t *testing.T) {
	l := thole.LifetimeFrom(t.Context())
	require.Nil(t, l)
	assert.False(t, l.Adopt(func() {}))
	assert.Zero(t, l.Mark())
	l.Rewind(0)
	l.End()
}

func TestLifetime_aPanicInOneReleaseLeavesTheOthers(t *testing.T) {
	_, l := thole.WithLifetime(t.Context())
	n := 0
	l.Adopt(func() { n++ })
	l.Adopt(func() { panic("no") })
	l.Adopt(func() { n++ })
	require.PanicsWithValue(t, "no", l.End)
	assert.Equal(t, 2, n)
}

func TestLifetime_aReleaseMayUseIt(t *testing.T) {
	_, l := thole.WithLifetime(t.Context())
	l.Adopt(func() {
		assert.False(t, l.Adopt(func() {}))
		l.End()
	})
	l.End()
}

func TestLifetime_eachReleaseIsEitherAdoptedOrLeft(t *testing.T) {
	for range 200 {
		_, l := thole.WithLifetime(t.Context())
		var released atomic.Int64
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				for range 5 {
					if !l.Adopt(func() { released.Add(1) }) {
						released.Add(1)
					}
				}
			})
		}
		wg.Go(l.End)
		wg.Go(l.End)
		wg.Wait()
		l.End()
		require.EqualValues(t, 20, released.Load())
	}
}

// A rewind that takes out the last release while the end waits for the lock must not make the
// end forget to end: what is adopted later would never be released.
func TestLifetime_endsThoughARewindEmptiesItJustBefore(t *testing.T) {
	for range 20_000 {
		_, l := thole.WithLifetime(t.Context())
		l.Adopt(func() {})
		var wg sync.WaitGroup
		wg.Go(l.End)
		l.Rewind(0)
		wg.Wait()
		require.False(t, l.Adopt(func() {}))
	}
}
