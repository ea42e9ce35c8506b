package bulkhead_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

func Example() {
	b := bulkhead.New(bulkhead.Config{Name: "payments", Limit: 1})
	err := b.Do(context.Background(), func(ctx context.Context) error {
		// One call is inside. Another one is refused, and does not run.
		return b.Do(ctx, func(context.Context) error { return nil })
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, bulkhead.ErrFull), errors.Is(err, thole.ErrRejected))
	// Output:
	// bulkhead[payments]: full
	// true true
}

func ExampleBulkhead_Do() {
	b := bulkhead.New(bulkhead.Config{Limit: 20})
	greeting, err := thole.Do(context.Background(), b, func(context.Context) (string, error) {
		return "hello", nil
	})
	fmt.Println(greeting, err)
	// Output: hello <nil>
}

func ExampleBulkhead_Acquire() {
	b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 10, MaxWait: time.Millisecond})
	ctx := context.Background()

	release, err := b.Acquire(ctx)
	fmt.Println("first:", err)

	_, err = b.Acquire(ctx)
	fmt.Println("second:", err)
	fmt.Println(errors.Is(err, bulkhead.ErrWait))

	release()
	release() // harmless, but a mistake
	fmt.Println("released twice:", b.Stats().ReleasedTwice)
	// Output:
	// first: <nil>
	// second: bulkhead: no permit within MaxWait
	// true
	// released twice: 1
}

func ExampleBulkhead_AcquireN() {
	// A budget of 100 MB for requests in memory.
	memory := bulkhead.New(bulkhead.Config{Name: "memory", Limit: 100_000_000, MaxWaiting: 100})
	release, err := memory.AcquireN(context.Background(), 3_000_000)
	if err != nil {
		return
	}
	defer release()
	fmt.Println(memory.Stats().InUse)

	_, err = memory.AcquireN(context.Background(), 200_000_000)
	fmt.Println(err)
	fmt.Println(errors.Is(err, bulkhead.ErrWeight))
	// Output:
	// 3000000
	// bulkhead[memory]: 200000000 permits asked for, more than the limit of 100000000
	// true
}

func ExampleBulkhead_TryAcquire() {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	release, ok := b.TryAcquire()
	fmt.Println(ok)
	_, ok = b.TryAcquire()
	fmt.Println(ok)
	release()
	// Output:
	// true
	// false
}

func ExampleBulkhead_Reconfigure() {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 10})
	fmt.Println(b.Reconfigure(bulkhead.Config{Name: "db", Limit: 20}))
	fmt.Println(b, b.Stats().Limit)
	fmt.Println(b.Reconfigure(bulkhead.Config{Name: "db"}))
	// Output:
	// <nil>
	// bulkhead[db] 20
	// bulkhead: Limit is 0: want 1 to 1073741824 (required)
}

func ExampleBulkhead_Stats() {
	b := bulkhead.New(bulkhead.Config{Limit: 5})
	_ = b.Do(context.Background(), func(context.Context) error {
		s := b.Stats()
		fmt.Println(s.InUse, "of", s.Limit, "in use,", s.Waiting, "waiting")
		return nil
	})
	fmt.Println(b.InUse())
	// Output:
	// 1 of 5 in use, 0 waiting
	// false
}

func ExampleBulkhead_Describe() {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 5, MaxWaiting: 10, MaxWait: time.Second})
	d := b.Describe()
	fmt.Println(d)
	for _, s := range d.Settings {
		fmt.Println(s.Key, s.Value)
	}
	// Output:
	// bulkhead[db]
	// Limit 5
	// MaxWaiting 10
	// MaxWait 1s
}

func ExampleError() {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 1, MaxWaiting: 1})
	release, _ := b.TryAcquire()
	defer release()

	ctx, cancel := context.WithTimeout(context.Background(), time.Millisecond)
	defer cancel()
	_, err := b.Acquire(ctx)

	var e *bulkhead.Error
	if errors.As(err, &e) {
		fmt.Println(e.Name, e.Reason())
	}
	fmt.Println(errors.Is(err, context.DeadlineExceeded), errors.Is(err, thole.ErrRejected))
	// Output:
	// db wait
	// true true
}

// A bulkhead in shadow mode shows what a limit would do.
func ExampleConfig_shadow() {
	b := bulkhead.New(bulkhead.Config{Limit: 1, Shadow: true})
	err := b.Do(context.Background(), func(ctx context.Context) error {
		return b.Do(ctx, func(context.Context) error { return nil })
	})
	fmt.Println(err, b.Stats().Shadowed)
	// Output: <nil> 1
}
