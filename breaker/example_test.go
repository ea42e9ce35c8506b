package breaker_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
)

func Example() {
	b := breaker.New(breaker.Config{Name: "payments", ConsecutiveFailures: 3})
	charge := func(context.Context) error { return errors.New("connection refused") }

	for range 4 {
		err := b.Do(context.Background(), charge)
		fmt.Println(err)
	}
	// Output:
	// connection refused
	// connection refused
	// connection refused
	// breaker[payments]: open
}

func ExampleNew() {
	// Opens when a fifth of at least 50 calls in the last 30 s failed, or when half of them
	// took longer than 2 s; admits more and more calls over a minute after it has closed.
	b := breaker.New(breaker.Config{
		Name:         "search",
		FailureRatio: 0.2,
		SlowCall:     2 * time.Second,
		SlowRatio:    0.5,
		MinCalls:     50,
		Window:       30 * time.Second,
		RampUp:       time.Minute,
	})
	fmt.Println(b, "is", b.State())
	// Output: breaker[search] is closed
}

func ExampleConfig_Validate() {
	cfg := breaker.Config{FailureRatio: 50} // percent?
	fmt.Println(cfg.Validate())
	// Output: breaker: FailureRatio is 50: want 0 (off, or 0.5 if no rule is set) to 1
}

func ExampleConfig_outcome() {
	errNotFound := errors.New("not found")
	b := breaker.New(breaker.Config{
		ConsecutiveFailures: 1,
		Outcome: func(ctx context.Context, err error) thole.Outcome {
			if errors.Is(err, errNotFound) {
				return thole.Success // the callee answered
			}
			return thole.OutcomeOf(ctx, err)
		},
	})
	err := b.Do(context.Background(), func(context.Context) error { return errNotFound })
	fmt.Println(err, "-", b.State())
	// Output: not found - closed
}

func ExampleConfig_onStateChange() {
	b := breaker.New(breaker.Config{
		ConsecutiveFailures: 1,
		OnStateChange:       func(from, to breaker.State) { fmt.Println(from, "->", to) },
	})
	_ = b.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	b.Reset()
	// Output:
	// closed -> open
	// open -> closed
}

func ExampleConfig_shadow() {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1, Shadow: true})
	for range 3 {
		_ = b.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	}
	s := b.Stats()
	fmt.Println(s.State, "and would have refused", s.Shadowed)
	// Output: open and would have refused 2
}

func ExampleBreaker_Allow() {
	b := breaker.New(breaker.Config{ConsecutiveFailures: 1})
	done, err := b.Allow(context.Background())
	if err != nil {
		fmt.Println("not now:", err)
		return
	}
	// The work happens elsewhere; whoever sees its end calls done.
	done(errors.New("connection reset"))

	_, err = b.Allow(context.Background())
	fmt.Println("not now:", err)
	// Output: not now: breaker: open
}

func ExampleBreaker_Isolate() {
	b := breaker.New(breaker.Config{Name: "db"})
	b.Isolate(0) // for maintenance
	err := b.Do(context.Background(), func(context.Context) error { return nil })
	fmt.Println(err)
	b.Reset()
	fmt.Println(b.Do(context.Background(), func(context.Context) error { return nil }))
	// Output:
	// breaker[db]: isolated
	// <nil>
}

func ExampleBreaker_Reconfigure() {
	b := breaker.New(breaker.Config{Name: "db"})
	err := b.Reconfigure(breaker.Config{Name: "db", Probes: -1})
	fmt.Println(err)
	fmt.Println(b.Reconfigure(breaker.Config{Name: "db", Probes: 3}))
	// Output:
	// breaker: Probes is -1: want 0 (1) to 10000
	// <nil>
}

func ExampleBreaker_Stats() {
	b := breaker.New(breaker.Config{FailureRatio: 0.5})
	for i := range 10 {
		_ = b.Do(context.Background(), func(context.Context) error {
			if i%5 == 0 {
				return errors.New("down")
			}
			return nil
		})
	}
	s := b.Stats()
	fmt.Printf("%v: %d of %d calls failed, a ratio of %.1f\n", s.State, s.Failures, s.Calls, s.FailureRatio)
	// Output: closed: 2 of 10 calls failed, a ratio of 0.2
}

func ExampleOpenError() {
	b := breaker.New(breaker.Config{Name: "db"})
	b.Isolate(time.Minute)
	err := b.Do(context.Background(), func(context.Context) error { return nil })

	var open *breaker.OpenError
	if errors.As(err, &open) {
		fmt.Println(open.Name, open.Reason(), open.RetryAfter().Round(time.Second))
	}
	fmt.Println(errors.Is(err, breaker.ErrOpen), errors.Is(err, thole.ErrRejected))
	// Output:
	// db isolated 1m0s
	// true true
}
