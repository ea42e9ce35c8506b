package ratelimit

import (
	"math/rand/v2"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

// No call of the word's count is lost or won, whenever others look at the laps, and whatever
// stands between the end of a lap and the moment at which laps knows of it.
func TestEpoch_countsWhatRunsOver(t *testing.T) {
	for seed := range uint64(20) {
		rng := rand.New(rand.NewPCG(seed, 0))
		e := new(epoch)
		state := int64(rng.IntN(2)*2-1) << callBits // an arrival time may be negative
		e.release(state)
		sum, want := 0, 0
		for range 20_000 {
			switch rng.IntN(60) {
			case 0:
				e.lap()
			case 1:
				word, calls, ok := e.seize()
				require.True(t, ok)
				require.Equal(t, state, word&^callMask)
				sum += calls
				require.Equal(t, want, sum)
				_, _, again := e.seize()
				require.False(t, again)
				e.lap()
				e.release(state)
			default:
				word := e.word.Load()
				if word&lapMask == lapMask {
					e.lap()
				}
				if rng.IntN(8) == 0 {
					continue // another came first
				}
				require.True(t, e.word.CompareAndSwap(word, another(word, state)))
				want++
			}
		}
	}
}

// A call that ends a lap while the slow path has the word, and finds it as it was afterwards, took
// two laps along: 256 calls counted too few.
func TestEpoch_lapEndsWhileTheWordIsHeld(t *testing.T) {
	e := new(epoch)
	e.release(0)
	pass := func() int64 {
		word := e.word.Load()
		if word&lapMask == lapMask {
			e.lap()
		}
		require.True(t, e.word.CompareAndSwap(word, another(word, 0)))
		return e.word.Load()
	}
	for range 4 {
		for pass()&lapMask != lapMask {
		}
		word := e.word.Load()
		_, before, ok := e.seize()
		require.True(t, ok)
		e.lap()
		e.release(0)
		require.True(t, e.word.CompareAndSwap(word, another(word, 0)))
		_, after, ok := e.seize()
		require.True(t, ok)
		require.Equal(t, 1, after, "%d before", before)
		e.release(0)
	}
}

// Tokens that come back do not bring back a word which somebody may have read before.
func TestEpoch_noWordComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := NewTokenBucket(TokenBucketConfig{Rate: Per(1, time.Minute), Burst: 2000})
		r := b.Reserve(callMask + 1)
		for range lapMask {
			require.True(t, b.Allow())
		}
		e := b.epoch.Load()
		word := e.word.Load()
		require.NotEqual(t, int64(held), word)
		for range callMask + 1 {
			require.True(t, b.Allow())
		}
		r.Cancel()
		require.NotEqual(t, word, e.word.Load())
		require.Equal(t, 2000-lapMask-callMask-1, b.Stats().Available)
		require.Equal(t, lapMask+callMask+2, b.Stats().Admitted)
	})
}
