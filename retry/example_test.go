package retry_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

func ExampleRetrier_Do() {
	r := retry.New(retry.Config{Backoff: retry.FullJitter(time.Millisecond, 10*time.Millisecond)})
	err := r.Do(context.Background(), func(ctx context.Context) error {
		n := thole.AttemptFrom(ctx).Number
		fmt.Println("attempt", n)
		if n < 2 {
			return errors.New("connection reset")
		}
		return nil
	})
	fmt.Println(err)
	// Output:
	// attempt 0
	// attempt 1
	// attempt 2
	// <nil>
}

func ExampleError() {
	errReset := errors.New("connection reset")
	r := retry.New(retry.Config{Name: "payments", MaxAttempts: 2, Backoff: retry.Constant(0)})
	err := r.Do(context.Background(), func(context.Context) error { return errReset })

	var gaveUp *retry.Error
	if errors.As(err, &gaveUp) {
		fmt.Println(gaveUp.Name, gaveUp.Attempts, gaveUp.Err)
	}
	fmt.Println(errors.Is(err, retry.ErrExhausted), errors.Is(err, errReset))
	// Output:
	// payments 2 connection reset
	// true true
}

// A budget that several policies share bounds what they add to the load together.
func ExampleConfig_budget() {
	budget := thole.NewBudget(thole.BudgetConfig{MinPerSecond: 1})
	reads := retry.New(retry.Config{Name: "reads", Budget: budget, Backoff: retry.Constant(0)})
	writes := retry.New(retry.Config{Name: "writes", Budget: budget, Backoff: retry.Constant(0)})

	fail := func(context.Context) error { return errors.New("down") }
	for _, r := range []*retry.Retrier{reads, writes} {
		err := r.Do(context.Background(), fail)
		reason, _ := thole.ReasonOf(err)
		fmt.Println(errors.Is(err, retry.ErrBudget), reason, r.Stats().Retries)
	}
	// Output:
	// true budget 1
	// true budget 0
}

func ExampleConfig_retryIf() {
	errNoFunds := errors.New("no funds")
	r := retry.New(retry.Config{RetryIf: func(err error) bool { return !errors.Is(err, errNoFunds) }})
	err := r.Do(context.Background(), func(context.Context) error { return errNoFunds })
	fmt.Println(err, r.Stats().Retries)
	// Output: no funds 0
}

func ExampleConfig_onRetry() {
	r := retry.New(retry.Config{
		Backoff: retry.Exponential(time.Millisecond, time.Second),
		OnRetry: func(_ context.Context, next thole.Attempt, err error, delay time.Duration) {
			fmt.Printf("%v: attempt %d in %v\n", err, next.Number, delay)
		},
	})
	_ = r.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	// Output:
	// down: attempt 1 in 1ms
	// down: attempt 2 in 2ms
}

// Any schedule of cenkalti/backoff serves, from a factory that makes one for each call.
func ExampleConfig_backoff() {
	r := retry.New(retry.Config{Backoff: func() backoff.BackOff {
		return backoff.WithMaxRetries(backoff.NewConstantBackOff(time.Millisecond), 1)
	}})
	err := r.Do(context.Background(), func(context.Context) error { return errors.New("down") })
	var gaveUp *retry.Error
	fmt.Println(errors.As(err, &gaveUp), gaveUp.Attempts, errors.Is(err, retry.ErrExhausted))
	// Output: true 2 false
}

func ExampleConfig_Validate() {
	fmt.Println(retry.Config{MaxAttempts: -1}.Validate())
	// Output: retry: MaxElapsed is 0s: want more than 0, because MaxAttempts is negative (unlimited)
}

func ExampleRetrier_Reconfigure() {
	r := retry.New(retry.Config{Name: "payments"})
	fmt.Println(r.Reconfigure(retry.Config{Name: "payments", MaxRetryAfter: -1}))
	fmt.Println(r.Reconfigure(retry.Config{Name: "payments", MaxAttempts: 5}), r.Describe().Runs)
	// Output:
	// retry: MaxRetryAfter is -1ns: want 0 (30 s) to 876000 h
	// <nil> 5
}

func ExampleRetrier_Describe() {
	r := retry.New(retry.Config{Name: "payments", Budget: thole.NoBudget})
	fmt.Println(r, "pauses at most", r.Describe().Pauses)
	for _, s := range r.Describe().Settings {
		fmt.Println(s.Key, "=", s.Value)
	}
	// Output:
	// retry[payments] pauses at most 300ms
	// MaxAttempts = 3
	// MaxElapsed = no bound
	// Backoff = full jitter from 100ms to 10s
	// MaxRetryAfter = 30s
	// Budget = none
}

func ExampleRetrier_Stats() {
	r := retry.New(retry.Config{Backoff: retry.Constant(0)})
	_ = r.Do(context.Background(), func(ctx context.Context) error {
		if thole.AttemptFrom(ctx).Number == 0 {
			return errors.New("down")
		}
		return nil
	})
	fmt.Printf("%+v\n", r.Stats())
	// Output: {Calls:1 Retries:1 Recovered:1 Exhausted:0 OverBudget:0 TooLate:0 Interrupted:0 Waiting:0}
}

func ExampleExponential() {
	s := retry.Exponential(100*time.Millisecond, 300*time.Millisecond)()
	fmt.Println(s.NextBackOff(), s.NextBackOff(), s.NextBackOff(), s.NextBackOff())
	// Output: 100ms 200ms 300ms 300ms
}

func ExampleConstant() {
	s := retry.Constant(time.Second)()
	fmt.Println(s.NextBackOff(), s.NextBackOff())
	// Output: 1s 1s
}

func ExampleFullJitter() {
	s := retry.FullJitter(100*time.Millisecond, 10*time.Second)()
	fmt.Println(s.NextBackOff() <= 100*time.Millisecond, s.NextBackOff() <= 200*time.Millisecond)
	// Output: true true
}

func ExampleDecorrelatedJitter() {
	s := retry.DecorrelatedJitter(100*time.Millisecond, 10*time.Second)()
	d := s.NextBackOff()
	fmt.Println(100*time.Millisecond <= d && d <= 300*time.Millisecond)
	// Output: true
}
