// Command soak drives everything at once for a while: chains of all policies with chaos in
// them, an HTTP server and client, single limiters and bulkheads, while all of it is
// reconfigured and keys come and go. It ends with what must hold then: all capacity is whole,
// no goroutine is left, the heap is where it was, and the counters add up. Run it under the
// race detector:
//
//	go run -race ./proof/cmd/soak
//	go run -race ./proof/cmd/soak -for 1h
package main

import (
	"context"
	"encoding/json"
	"flag"
	"fmt"
	"math/rand/v2"
	"os"
	"os/signal"
	"runtime"
	"sync"
	"sync/atomic"
	"time"
)

// figures is what a run comes to, as written by -json.
type figures struct {
	Seconds    float64
	Race       bool
	Goroutines int // that made calls
	Calls      map[string]*count
	Changes    int64 // of configurations
	Keys       int64 // that were made
	Opened     int   // times a breaker opened
	HeapStart  uint64
	HeapEnd    uint64
	LeftOver   int // goroutines
	Broken     []string
}

// count is what became of the calls of one kind.
type count struct{ Sent, Succeeded, Failed, Rejected, Cancelled, Panicked atomic.Int64 }

func (c *count) MarshalJSON() ([]byte, error) {
	return json.Marshal(map[string]int64{
		"Sent": c.Sent.Load(), "Succeeded": c.Succeeded.Load(), "Failed": c.Failed.Load(),
		"Rejected": c.Rejected.Load(), "Cancelled": c.Cancelled.Load(), "Panicked": c.Panicked.Load(),
	})
}

func (c *count) ended() int64 {
	return c.Succeeded.Load() + c.Failed.Load() + c.Rejected.Load() + c.Cancelled.Load() + c.Panicked.Load()
}

func main() {
	duration := flag.Duration("for", time.Minute, "how long")
	workers := flag.Int("workers", 8, "goroutines for each kind of call")
	seed := flag.Uint64("seed", 1, "what draws the calls and changes")
	out := flag.String("json", "", "write the figures to this `file` too")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	f, err := soak(ctx, *duration, *workers, *seed)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	f.print()
	if err := f.write(*out); err != nil {
		fmt.Fprintln(os.Stderr, "soak:", err)
		os.Exit(2)
	}
	if len(f.Broken) > 0 {
		os.Exit(1)
	}
}

// part is one kind of load. run makes one call, change alters a configuration, settled says
// what is wrong when all calls have ended.
type part struct {
	name    string
	run     func(ctx context.Context, rng *rand.Rand, c *count)
	change  func(rng *rand.Rand)
	settled func(*figures) []string
	end     func()
}

func soak(ctx context.Context, d time.Duration, workers int, seed uint64) (*figures, error) {
	before := goroutines()
	f := &figures{Race: raceEnabled, Calls: map[string]*count{}}
	parts, err := allParts(f)
	if err != nil {
		return nil, err
	}
	// A while first, so that what is made once is there when the heap is measured.
	warm := min(d/10, 5*time.Second)
	start := time.Now()
	f.drive(ctx, parts, workers, seed, warm)
	f.HeapStart = heap()
	f.drive(ctx, parts, workers, seed+1, d-warm)
	f.HeapEnd = heap()
	f.Seconds = time.Since(start).Seconds()
	f.Goroutines = workers * len(parts)
	f.settle(parts, before)
	return f, nil
}

// drive puts all parts under load for d.
func (f *figures) drive(ctx context.Context, parts []part, workers int, seed uint64, d time.Duration) {
	ctx, cancel := context.WithTimeout(ctx, d)
	defer cancel()
	var wg sync.WaitGroup
	for i, p := range parts {
		c := f.Calls[p.name]
		if c == nil {
			c = new(count)
			f.Calls[p.name] = c
		}
		for w := range workers {
			rng := rand.New(rand.NewPCG(seed, uint64(i<<32|w)))
			wg.Go(func() {
				for ctx.Err() == nil {
					c.Sent.Add(1)
					p.run(ctx, rng, c)
				}
			})
		}
		rng := rand.New(rand.NewPCG(seed, uint64(i<<32|1<<31)))
		wg.Go(func() {
			for ctx.Err() == nil {
				p.change(rng)
				atomic.AddInt64(&f.Changes, 1)
				pause(ctx, time.Duration(rng.IntN(20))*time.Millisecond)
			}
		})
	}
	wg.Wait()
}

// settle waits until all is at rest and notes what is not as it must be.
func (f *figures) settle(parts []part, before int) {
	broken := func(format string, args ...any) { f.Broken = append(f.Broken, fmt.Sprintf(format, args...)) }
	for name, c := range f.Calls {
		if c.Sent.Load() != c.ended() {
			broken("%s: %d calls sent, and %d have ended", name, c.Sent.Load(), c.ended())
		}
		if c.Succeeded.Load() == 0 {
			broken("%s: no call succeeded", name)
		}
	}
	for _, p := range parts {
		var wrong []string
		for range 300 {
			if wrong = p.settled(f); len(wrong) == 0 {
				break
			}
			time.Sleep(10 * time.Millisecond)
		}
		for _, w := range wrong {
			broken("%s: %s", p.name, w)
		}
		p.end()
	}
	for range 300 {
		if f.LeftOver = goroutines() - before; f.LeftOver <= 0 {
			break
		}
		time.Sleep(10 * time.Millisecond)
	}
	if f.LeftOver > 0 {
		buf := make([]byte, 1<<20)
		broken("%d goroutines are left:\n%s", f.LeftOver, buf[:runtime.Stack(buf, true)])
	}
	if f.HeapEnd > f.HeapStart+f.HeapStart/2+8<<20 {
		broken("the heap grew from %d to %d kB", f.HeapStart>>10, f.HeapEnd>>10)
	}
}

// goroutines returns how many there are, without the one that watches for signals.
func goroutines() int { return runtime.NumGoroutine() }

// heap returns how many bytes are in use after a collection.
func heap() uint64 {
	var m runtime.MemStats
	for range 3 { // finalizers and pools take more than one round
		runtime.GC()
	}
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-ctx.Done():
	}
}

func (f *figures) print() {
	fmt.Printf("%.0f s, %d goroutines, race detector %v\n", f.Seconds, f.Goroutines, f.Race)
	for _, name := range sorted(f.Calls) {
		c := f.Calls[name]
		fmt.Printf("%-12s %9d calls = %8d succeeded + %8d failed + %8d rejected + %6d cancelled + %6d panicked\n", name,
			c.Sent.Load(), c.Succeeded.Load(), c.Failed.Load(), c.Rejected.Load(), c.Cancelled.Load(), c.Panicked.Load())
	}
	fmt.Printf("%d changes of configuration, %d keys made, breakers opened %d times\n", f.Changes, f.Keys, f.Opened)
	fmt.Printf("heap %d kB at first, %d kB in the end; %d goroutines left\n", f.HeapStart>>10, f.HeapEnd>>10, max(0, f.LeftOver))
	if len(f.Broken) == 0 {
		fmt.Println("all invariants hold")
	}
	for _, b := range f.Broken {
		fmt.Println("BROKEN:", b)
	}
}

func (f *figures) write(file string) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(f, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}
