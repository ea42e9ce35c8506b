package ratelimit_test

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/ratelimit"
)

func send(context.Context) error { return nil }

func ExampleTokenBucket() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{
		Name:  "mail",
		Rate:  ratelimit.Per(100, time.Hour),
		Burst: 2,
	})
	for range 3 {
		fmt.Println(limiter.Allow())
	}
	// Output:
	// true
	// true
	// false
}

func ExampleTokenBucket_Do() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Name: "mail", Rate: ratelimit.Per(1, time.Hour)})
	ctx := context.Background()
	fmt.Println(limiter.Do(ctx, send))

	err := limiter.Do(ctx, send)
	after, _ := thole.RetryAfter(err)
	fmt.Println(err)
	fmt.Println(errors.Is(err, ratelimit.ErrLimited), errors.Is(err, thole.ErrRejected), after.Round(time.Minute))
	// Output:
	// <nil>
	// ratelimit[mail]: limit exceeded
	// true true 1h0m0s
}

func ExampleTokenBucket_Wait() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1000, time.Second)})
	start := time.Now()
	for range 11 {
		if err := limiter.Wait(context.Background()); err != nil {
			fmt.Println(err)
		}
	}
	fmt.Println(time.Since(start) >= 10*time.Millisecond)

	slow := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour)})
	slow.Allow()
	ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
	defer cancel()
	fmt.Println(slow.Wait(ctx)) // at once
	// Output:
	// true
	// ratelimit: limit exceeded
}

func ExampleTokenBucket_WaitN() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(100, time.Second), Burst: 10})
	fmt.Println(limiter.WaitN(context.Background(), 10))
	err := limiter.WaitN(context.Background(), 11)
	fmt.Println(err, errors.Is(err, ratelimit.ErrBurst))
	// Output:
	// <nil>
	// ratelimit: more tokens asked for than the limiter can hold true
}

func ExampleTokenBucket_Reserve() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Minute)})
	limiter.Allow()
	r := limiter.Reserve(1)
	if r.Delay() > time.Second {
		r.Cancel() // too long: as if it had never been
	}
	fmt.Println(r.OK(), limiter.Stats().Promised)
	// Output: true 0
}

func ExampleTokenBucket_Reconfigure() {
	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1, time.Hour)})
	limiter.Allow()
	done := make(chan error)
	go func() { done <- limiter.Wait(context.Background()) }()
	for limiter.Stats().Waiting == 0 {
		time.Sleep(time.Millisecond)
	}
	err := limiter.Reconfigure(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(1000, time.Second)})
	fmt.Println(err, <-done)
	// Output: <nil> <nil>
}

func ExampleSlidingWindow() {
	limiter := ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{
		Name:   "quota",
		Limit:  1000,
		Window: time.Hour,
		Exact:  true,
	})
	fmt.Println(limiter.AllowN(999), limiter.AllowN(2), limiter.Allow())
	fmt.Println(limiter.Do(context.Background(), send))
	fmt.Println(limiter.Stats())
	// Output:
	// true false true
	// ratelimit[quota]: limit exceeded
	// {2 2 0 0 0}
}

func ExampleKeyed() {
	perUser := ratelimit.NewKeyed[string](
		ratelimit.TokenBucketConfig{Rate: ratelimit.Per(10, time.Hour), Burst: 1},
		thole.KeyedConfig{MaxKeys: 100_000},
	)
	fmt.Println(perUser.Allow("ann"), perUser.Allow("ann"), perUser.Allow("bob"))
	fmt.Println(perUser.Len())
	// Output:
	// true false true
	// 2
}

func ExampleRate() {
	fmt.Println(ratelimit.Per(3, time.Second), ratelimit.Per(0, time.Second), ratelimit.Unlimited)
	// Output: 3/s 0/s unlimited
}
