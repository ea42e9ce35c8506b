package stripe

import (
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

func TestCounter_countsEveryAddition(t *testing.T) {
	var c Counter
	var wg sync.WaitGroup
	const each = 20_000
	for range 8 {
		wg.Go(func() {
			for range each {
				c.Add()
			}
		})
	}
	last := 0
	for range 100 {
		n := c.Load()
		require.GreaterOrEqual(t, n, last)
		last = n
	}
	wg.Wait()
	assert.Equal(t, 8*each, c.Load())
}

func TestCounter_isStripedWhenContended(t *testing.T) {
	var c Counter
	for range 1000 {
		c.Add()
	}
	assert.Nil(t, c.stripes.All(), "one goroutine has nobody in its way")
	for range Tolerated {
		c.add() // as if another goroutine had been faster
	}
	assert.Nil(t, c.stripes.All())
	c.add()
	require.NotNil(t, c.stripes.All())
	for range 1000 {
		c.Add()
	}
	assert.EqualValues(t, 1000+Tolerated, c.n.Load(), "what is striped leaves the one word alone")
	assert.Equal(t, 2001+Tolerated, c.Load())
}

// Goroutines ought to be spread over the stripes. Whether they are is up to the addresses of
// their stacks; that all came to lie on one or two would be a mistake in the arithmetic.
func TestIndex_spreadsGoroutines(t *testing.T) {
	const goroutines = 64
	seen := make(chan int, goroutines)
	var inside, wg sync.WaitGroup
	inside.Add(goroutines)
	for range goroutines {
		wg.Go(func() {
			inside.Done()
			inside.Wait() // all have a stack of their own
			var got [10]int
			for i := range got {
				got[i] = Index()
			}
			// Only now what may need more stack, and move it.
			assert.Equal(t, slices.Repeat(got[:1], len(got)), got[:])
			seen <- got[0]
		})
	}
	wg.Wait()
	close(seen)
	used := map[int]bool{}
	for i := range seen {
		require.True(t, i >= 0 && i < N, i)
		used[i] = true
	}
	assert.GreaterOrEqual(t, len(used), 4)
}

func BenchmarkCounter(b *testing.B) {
	var c Counter
	b.RunParallel(func(pb *testing.PB) {
		for pb.Next() {
			c.Add()
		}
	})
}
