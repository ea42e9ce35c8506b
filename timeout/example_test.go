package timeout_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/timeout"
)

func Example() {
	t := timeout.New(timeout.Config{Name: "payments", Limit: 10 * time.Millisecond})

	err := t.Do(context.Background(), func(ctx context.Context) error {
		<-ctx.Done() // a query that takes too long
		return ctx.Err()
	})
	fmt.Println(err)
	fmt.Println(errors.Is(err, timeout.ErrTimeout), errors.Is(err, context.DeadlineExceeded))
	// Output:
	// timeout[payments]: 10ms exceeded
	// true true
}

func ExampleTimeout_Do() {
	t := timeout.New(timeout.Config{Limit: 10 * time.Millisecond})

	// A result that comes late is a result all the same.
	err := t.Do(context.Background(), func(ctx context.Context) error {
		<-ctx.Done()
		return nil
	})
	fmt.Println(err)

	// The context says why it ended.
	_ = t.Do(context.Background(), func(ctx context.Context) error {
		<-ctx.Done()
		fmt.Println(context.Cause(ctx))
		return nil
	})
	// Output:
	// <nil>
	// timeout: 10ms exceeded
}

func ExampleError() {
	t := timeout.New(timeout.Config{Name: "payments", Limit: 10 * time.Millisecond})

	err := t.Do(context.Background(), func(ctx context.Context) error {
		<-ctx.Done()
		return fmt.Errorf("row 17: %w", ctx.Err())
	})
	var e *timeout.Error
	if errors.As(err, &e) {
		fmt.Println(e.Name, e.Limit, "-", e.Err)
	}
	// Output: payments 10ms - row 17: context deadline exceeded
}

func ExampleTimeout_Reconfigure() {
	t := timeout.New(timeout.Config{Name: "payments", Limit: time.Second})
	fmt.Println(t.Reconfigure(timeout.Config{Limit: -1}) != nil, t.Describe().Limit)
	fmt.Println(t.Reconfigure(timeout.Config{Limit: time.Minute}), t.Describe().Limit)
	// Output:
	// true 1s
	// <nil> 1m0s
}

func ExampleTimeout_Stats() {
	t := timeout.New(timeout.Config{Limit: time.Second})
	_ = t.Do(context.Background(), func(context.Context) error { return nil })
	fmt.Printf("%+v\n", t.Stats())
	// Output: {Calls:1 Timeouts:0}
}

// A lifetime lets a result live on after the call: the limit has done its work, the context
// is still good.
func ExampleTimeout_lifetime() {
	t := timeout.New(timeout.Config{Limit: 10 * time.Millisecond})

	ctx, life := thole.WithLifetime(context.Background())
	var body context.Context // what an HTTP body is read with
	_ = t.Do(ctx, func(ctx context.Context) error {
		body = ctx
		return nil
	})
	time.Sleep(20 * time.Millisecond)
	fmt.Println("reading:", body.Err())
	life.End()
	fmt.Println("closed:", body.Err())
	// Output:
	// reading: <nil>
	// closed: context canceled
}
