package thole_test

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

// announce is a policy that prints when a call comes and goes.
type announce string

func (a announce) Do(ctx context.Context, fn func(context.Context) error) error {
	fmt.Println("enter", a)
	defer fmt.Println("leave", a)
	return fn(ctx)
}

func (a announce) String() string { return string(a) }

// The first policy is the outermost.
func ExampleChain() {
	p := thole.Chain(announce("timeout"), announce("retry"), announce("breaker"))
	fmt.Println(p)
	_ = p.Do(context.Background(), func(context.Context) error {
		fmt.Println("call")
		return nil
	})
	// Output:
	// timeout(retry(breaker))
	// enter timeout
	// enter retry
	// enter breaker
	// call
	// leave breaker
	// leave retry
	// leave timeout
}

func ExampleDo() {
	n, err := thole.Do(context.Background(), thole.Chain(), func(context.Context) (int, error) {
		return 42, nil
	})
	fmt.Println(n, err)
	// Output: 42 <nil>
}

func ExampleDoOr() {
	price, err := thole.DoOr(context.Background(), thole.Chain(),
		func(context.Context) (int, error) { return 0, errors.New("catalogue is down") },
		func(_ context.Context, err error) (int, error) {
			fmt.Println("using the list price:", err)
			return 100, nil
		})
	fmt.Println(price, err)
	// Output:
	// using the list price: catalogue is down
	// 100 <nil>
}

// A missing row is a good answer of a healthy database: no breaker counts it, no retry
// repeats it, and the caller gets it as it was.
func ExampleAnswer() {
	_, err := thole.Do(context.Background(), thole.Chain(), func(context.Context) (string, error) {
		return "", thole.Answer(sql.ErrNoRows)
	})
	fmt.Println(err == sql.ErrNoRows)
	// Output: true
}

func ExamplePermanent() {
	err := thole.Permanent(errors.New("no such account"))
	fmt.Println(err, thole.IsPermanent(err), thole.Unmark(err))
	// Output: no such account true no such account
}

func ExampleOutcomeOf() {
	ctx := context.Background()
	fmt.Println(thole.OutcomeOf(ctx, nil))
	fmt.Println(thole.OutcomeOf(ctx, errors.New("connection reset")))
	fmt.Println(thole.OutcomeOf(ctx, thole.ErrRejected))
	// Output:
	// success
	// failure
	// ignored
}

// A policy of one's own rejects with a sentinel that says why.
func ExampleRejection() {
	errNight := thole.Rejection(thole.ReasonLimited, "night: no calls before six")
	reason, _ := thole.ReasonOf(errNight)
	fmt.Println(errors.Is(errNight, thole.ErrRejected), reason)
	// Output: true limited
}

func ExamplePolicyFunc() {
	timed := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		start := time.Now()
		defer func() { fmt.Println("took no time:", time.Since(start) < time.Minute) }()
		return fn(ctx)
	})
	_ = timed.Do(context.Background(), func(context.Context) error { return nil })
	// Output: took no time: true
}

func ExampleOnce() {
	ctx := thole.Once(context.Background())
	fmt.Println(thole.Repeatable(ctx))
	// Output: false
}

func ExampleAttemptFrom() {
	ctx := thole.WithAttempt(context.Background(), thole.Attempt{Number: 2})
	fmt.Println(thole.AttemptFrom(ctx).Number)
	// Output: 2
}

func ExamplePerTarget() {
	p := thole.PerTarget(func(target string) thole.Policy { return announce("breaker[" + target + "]") })
	for _, target := range []string{"http://a:80", "http://b:80"} {
		ctx := thole.WithTarget(context.Background(), target)
		_ = p.Do(ctx, func(ctx context.Context) error {
			fmt.Println("call", thole.TargetFrom(ctx))
			return nil
		})
	}
	// Output:
	// enter breaker[http://a:80]
	// call http://a:80
	// leave breaker[http://a:80]
	// enter breaker[http://b:80]
	// call http://b:80
	// leave breaker[http://b:80]
}

func ExampleKeyed() {
	type tenant struct{}
	p := thole.Keyed(
		func(ctx context.Context) string { name, _ := ctx.Value(tenant{}).(string); return name },
		func(name string) thole.Policy { return announce("limit[" + name + "]") },
		thole.KeyedConfig{MaxKeys: 1000},
	)
	ctx := context.WithValue(context.Background(), tenant{}, "blue")
	_ = p.Do(ctx, func(context.Context) error { return nil })
	// Output:
	// enter limit[blue]
	// leave limit[blue]
}

func ExampleNewKeys() {
	keys := thole.NewKeys(func(name string) *thole.Budget {
		return thole.NewBudget(thole.BudgetConfig{})
	}, thole.KeyedConfig{})
	if held, ok := keys.Hold("payments"); ok {
		fmt.Println(held.Value())
		held.Release()
	}
	// Output: 20% of calls, at least 10/s, over 10s
}

func ExampleNewBudget() {
	budget := thole.NewBudget(thole.BudgetConfig{Ratio: 0.1, MinPerSecond: 1})
	fmt.Println(budget.Withdraw(), budget.Withdraw())
	for range 10 {
		budget.Deposit()
	}
	fmt.Println(budget.Withdraw())
	// Output:
	// true false
	// true
}

// An edge keeps what a result needs until the result is finished with.
func ExampleWithLifetime() {
	ctx, lifetime := thole.WithLifetime(context.Background())
	policy := func(ctx context.Context) {
		release := func() { fmt.Println("permit given back") }
		if !thole.LifetimeFrom(ctx).Adopt(release) {
			release()
		}
	}
	policy(ctx)
	fmt.Println("reading the body")
	lifetime.End()
	// Output:
	// reading the body
	// permit given back
}

// twice is a policy that makes each call twice at the same time, and takes what succeeds.
type twice struct{}

func (twice) Do(ctx context.Context, fn func(context.Context) error) error {
	ended := make(chan error, 2)
	for range 2 {
		attempt := &thole.Abandonment{Context: ctx}
		go func() { ended <- fn(attempt) }()
	}
	if err := <-ended; err == nil {
		<-ended // or it would outlive the call, which only a hedge may let it
		return nil
	}
	return <-ended
}

// An edge of one's own gives its caller the first success of a call. One that comes after it, or
// that its policies have given up, is told so, and counts for nothing.
func ExampleClaim() {
	call := thole.CallContext{Context: context.Background(), Info: &thole.CallInfo{Target: "db"}}
	var settled atomic.Bool
	outcomes := make(chan thole.Outcome, 2)
	err := twice{}.Do(&call, func(ctx context.Context) error {
		// … the work itself, which succeeds …
		var err error
		if !thole.Claim(ctx) || !settled.CompareAndSwap(false, true) {
			err = thole.Forfeit(ctx)
		}
		outcomes <- thole.OutcomeOf(ctx, err)
		return err
	})
	a, b := <-outcomes, <-outcomes
	fmt.Println(err, min(a, b), max(a, b))
	// Output: <nil> success ignored
}
