package benchmarks

import (
	"math/rand/v2"
	"strconv"
	"sync/atomic"
	"testing"
	"unsafe"
)

// What a word costs that every call touches, by where it lies. Each call here loads a setting,
// as every policy does, and touches the word: beside the setting in the one layout, in a cache
// line of its own in the other, and in the third one of eight words in lines of their own.

const cacheLine = 64

type plainWord struct {
	setting atomic.Int64
	word    atomic.Int64
}

type paddedWord struct {
	setting atomic.Int64
	_       [cacheLine]byte
	word    atomic.Int64
	_       [cacheLine - 8]byte
}

type shardedWord struct {
	setting atomic.Int64
	_       [cacheLine]byte
	shards  [shards]struct {
		word atomic.Int64
		_    [cacheLine - 8]byte
	}
}

const shards = 8 // a power of two

func (s *shardedWord) sum() (sum int64) {
	for i := range s.shards {
		sum += s.shards[i].word.Load()
	}
	return sum
}

// Go tells nobody which processor he runs on. These are the cheap ways to spread goroutines over
// shards without that: by lot, at each call anew; and by where the goroutine's stack lies, which
// keeps a goroutine at its shard, so that two which meet there stay together.

func byLot() uint64 { return rand.Uint64() % shards }

func byStack() uint64 {
	var here byte
	return uint64(uintptr(unsafe.Pointer(&here))) >> 10 * 0x9e3779b97f4a7c15 >> 61
}

// enter and leave are what a bulkhead does to its state. That word must be exact: eight eighths of
// a limit would refuse a call while permits of another shard are free. So it can be padded, and
// not sharded; and so it is with a token bucket's.
func enter(setting, state *atomic.Int64) {
	for {
		old := state.Load()
		if old >= setting.Load() || state.CompareAndSwap(old, old+1) {
			return
		}
	}
}

func leave(state *atomic.Int64) { state.Add(-1) }

func TestLayout_shardsCountAll(t *testing.T) {
	for name, pick := range map[string]func() uint64{"lot": byLot, "stack": byStack} {
		s, done := new(shardedWord), make(chan uint64)
		used := map[uint64]bool{}
		for range 100 {
			go func() {
				i := pick()
				s.shards[i].word.Add(1)
				done <- i
			}()
		}
		for range 100 {
			used[<-done] = true
		}
		if s.sum() != 100 || len(used) < shards/2 {
			t.Errorf("by %s: %d counted in %d shards", name, s.sum(), len(used))
		}
	}
}

// BenchmarkLayout has so many goroutines use one word.
func BenchmarkLayout(b *testing.B) {
	var sink atomic.Int64
	b.Run("pick_by_lot_alone/1", func(b *testing.B) {
		spread(b, 1, func() { sinkShard = byLot() })
	})
	b.Run("pick_by_stack_alone/1", func(b *testing.B) {
		spread(b, 1, func() { sinkShard = byStack() })
	})
	for _, n := range []int{1, 2, 8, 64} {
		layoutCounters(b, strconv.Itoa(n), n, &sink)
	}
	for _, n := range []int{1, 2, 8, 64} {
		layoutStates(b, strconv.Itoa(n), n)
	}
	for _, n := range []int{1, 2, 8, 64} {
		layoutNeighbours(b, strconv.Itoa(n), n, &sink)
	}
}

var sinkShard uint64

// layoutCounters counts events.
func layoutCounters(b *testing.B, label string, n int, sink *atomic.Int64) {
	plain, padded, sharded := new(plainWord), new(paddedWord), new(shardedWord)
	b.Run("counter,_plain/"+label, func(b *testing.B) {
		spread(b, n, func() { plain.word.Add(1 + plain.setting.Load()) })
	})
	b.Run("counter,_padded/"+label, func(b *testing.B) {
		spread(b, n, func() { padded.word.Add(1 + padded.setting.Load()) })
	})
	b.Run("counter,_8_shards_by_lot/"+label, func(b *testing.B) {
		spread(b, n, func() { sharded.shards[byLot()].word.Add(1 + sharded.setting.Load()) })
	})
	b.Run("counter,_8_shards_by_stack/"+label, func(b *testing.B) {
		spread(b, n, func() { sharded.shards[byStack()].word.Add(1 + sharded.setting.Load()) })
	})
	sink.Add(plain.word.Load() + padded.word.Load() + sharded.sum())
}

// layoutStates takes a permit and gives it back.
func layoutStates(b *testing.B, label string, n int) {
	plain, padded := new(plainWord), new(paddedWord)
	plain.setting.Store(permits)
	padded.setting.Store(permits)
	b.Run("exact_state,_plain/"+label, func(b *testing.B) {
		spread(b, n, func() { enter(&plain.setting, &plain.word); leave(&plain.word) })
	})
	b.Run("exact_state,_padded/"+label, func(b *testing.B) {
		spread(b, n, func() { enter(&padded.setting, &padded.word); leave(&padded.word) })
	})
}

// layoutNeighbours reads the setting while one goroutine of the n writes the word all the time,
// if there is another.
func layoutNeighbours(b *testing.B, label string, n int, sink *atomic.Int64) {
	plain, padded := new(plainWord), new(paddedWord)
	read := func(name string, setting, word *atomic.Int64) {
		b.Run(name+"/"+label, func(b *testing.B) {
			var over atomic.Bool
			stopped := make(chan struct{})
			if n > 1 {
				go func() {
					for !over.Load() {
						word.Add(1)
					}
					close(stopped)
				}()
			}
			spread(b, max(n-1, 1), func() { sinkShard = uint64(setting.Load()) })
			over.Store(true)
			if n > 1 {
				<-stopped
			}
		})
	}
	read("read_beside_a_written_word", &plain.setting, &plain.word)
	read("read,_the_word_padded", &padded.setting, &padded.word)
	sink.Add(plain.word.Load() + padded.word.Load())
}
