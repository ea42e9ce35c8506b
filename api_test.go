package thole_test

import (
	"context"
	"net/http"
	"time"

	"github.com/cenkalti/backoff/v4"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholehttp"
	"github.com/thole-go/thole/timeout"
)

// Programs outside the repository compile against these. Change none.

var (
	_ thole.Policy                                  = thole.PolicyFunc(nil)
	_ func(...thole.Policy) thole.Policy            = thole.Chain
	_ error                                         = thole.ErrRejected
	_ func(error) (time.Duration, bool)             = thole.RetryAfter
	_ func(error) (thole.Reason, bool)              = thole.ReasonOf
	_ func(context.Context, error) thole.Outcome    = thole.OutcomeOf
	_ func(error) error                             = thole.Answer
	_ func(error) error                             = thole.Permanent
	_ func(context.Context) thole.Attempt           = thole.AttemptFrom
	_ func(context.Context) context.Context         = thole.Once
	_ func(context.Context) bool                    = thole.Repeatable
	_ func(context.Context, string) context.Context = thole.WithTarget
	_ func(context.Context) string                  = thole.TargetFrom
	_ func(func(string) thole.Policy) thole.Policy  = thole.PerTarget
	_ func(thole.BudgetConfig) *thole.Budget        = thole.NewBudget
	_ *thole.Budget                                 = thole.NoBudget
	_ func(thole.Policy) string                     = thole.Explain
	_ func(thole.Policy) []thole.Finding            = thole.Lint

	_                                                                                                                                 = thole.Keyed[int]
	_ func(context.Context, thole.Policy, func(context.Context) (int, error)) (int, error)                                            = thole.Do[int]
	_ func(context.Context, thole.Policy, func(context.Context) (int, error), func(context.Context, error) (int, error)) (int, error) = thole.DoOr[int]

	_ = thole.Attempt{Number: 1, Hedge: 1}
	_ = thole.KeyedConfig{1, time.Second}
	_ = thole.BudgetConfig{0.1, 1, time.Second}
	_ = []thole.Outcome{thole.Success, thole.Failure, thole.Ignored}
)

var (
	_ = breaker.Config{Name: "", ConsecutiveFailures: 0, FailureRatio: 0, MinCalls: 0, Window: 0, WindowCalls: 0, SlowCall: 0, SlowRatio: 0,
		OpenFor: 0, MaxOpenFor: 0, Probes: 0, ProbeSuccesses: 0, ProbeTimeout: 0, RampUp: 0,
		Outcome: func(context.Context, error) thole.Outcome { return 0 }, OnStateChange: func(from, to breaker.State) {}, Shadow: false}
	_                                                              = []breaker.State{breaker.Closed, breaker.Open, breaker.HalfOpen}
	_ func(*breaker.Breaker, context.Context) (func(error), error) = (*breaker.Breaker).Allow
	_ func(*breaker.Breaker) breaker.State                         = (*breaker.Breaker).State
	_ func(*breaker.Breaker, time.Duration)                        = (*breaker.Breaker).Isolate
	_ func(*breaker.Breaker)                                       = (*breaker.Breaker).Reset
	_ error                                                        = breaker.ErrOpen
	_ error                                                        = &breaker.OpenError{Name: ""}

	_ = retry.Config{Name: "", MaxAttempts: 0, MaxElapsed: 0, Backoff: func() backoff.BackOff { return nil }, MaxRetryAfter: 0,
		RetryIf: func(error) bool { return true }, Budget: nil, OnRetry: func(context.Context, thole.Attempt, error, time.Duration) {}}
	_ func(_, _ time.Duration) func() backoff.BackOff = retry.Exponential
	_ func(_, _ time.Duration) func() backoff.BackOff = retry.FullJitter
	_ func(_, _ time.Duration) func() backoff.BackOff = retry.DecorrelatedJitter
	_ func(time.Duration) func() backoff.BackOff      = retry.Constant
	_ error                                           = &retry.Error{Attempts: 0, Elapsed: 0, Err: nil}
	_ error                                           = retry.ErrExhausted

	_                                                                = bulkhead.Config{Name: "", Limit: 0, MaxWaiting: 0, MaxWait: 0, Shadow: false}
	_ func(*bulkhead.Bulkhead, context.Context) (func(), error)      = (*bulkhead.Bulkhead).Acquire
	_ func(*bulkhead.Bulkhead, context.Context, int) (func(), error) = (*bulkhead.Bulkhead).AcquireN
	_ func(*bulkhead.Bulkhead) (func(), bool)                        = (*bulkhead.Bulkhead).TryAcquire
	_                                                                = []error{bulkhead.ErrFull, bulkhead.ErrWait}

	_                                                              = ratelimit.Rate{Count: 1, Per: time.Second}
	_ func(int, time.Duration) ratelimit.Rate                      = ratelimit.Per
	_ ratelimit.Rate                                               = ratelimit.Unlimited
	_ func(ratelimit.TokenBucketConfig) *ratelimit.TokenBucket     = ratelimit.NewTokenBucket
	_ func(ratelimit.SlidingWindowConfig) *ratelimit.SlidingWindow = ratelimit.NewSlidingWindow
	_                                                              = ratelimit.TokenBucketConfig{Name: "", Rate: ratelimit.Rate{}, Burst: 0, MaxWait: 0, Shadow: false}
	_                                                              = ratelimit.SlidingWindowConfig{Name: "", Limit: 0, Window: 0, Exact: false, MaxWait: 0, Shadow: false}
	_ func(*ratelimit.TokenBucket, int) *ratelimit.Reservation     = (*ratelimit.TokenBucket).Reserve
	_ func(*ratelimit.Reservation) bool                            = (*ratelimit.Reservation).OK
	_ func(*ratelimit.Reservation) time.Duration                   = (*ratelimit.Reservation).Delay
	_ func(*ratelimit.Reservation)                                 = (*ratelimit.Reservation).Cancel
	_                                                              = []error{ratelimit.ErrLimited, ratelimit.ErrBurst, &ratelimit.LimitError{Name: ""}}
	_                                                              = []limiter{(*ratelimit.TokenBucket)(nil), (*ratelimit.SlidingWindow)(nil)}

	_       = timeout.Config{Name: "", Limit: 0}
	_ error = timeout.ErrTimeout

	_ = hedge.Config{Name: "", Delay: 0, Quantile: 0, MaxHedges: 0, Budget: nil}

	_ func(http.RoundTripper, thole.Policy, tholehttp.TransportConfig) *tholehttp.Transport = tholehttp.NewTransport
	_ func(http.Handler, thole.Policy, tholehttp.HandlerConfig) http.Handler                = tholehttp.NewHandler
	_                                                                                       = tholehttp.TransportConfig{Outcome: func(*http.Response, error) thole.Outcome { return 0 }, Repeatable: func(*http.Request) bool { return true },
		MaxReplayBytes: int64(0), Fallback: func(*http.Request, error) (*http.Response, error) { return nil, nil }}
	_ error = &tholehttp.StatusError{StatusCode: 0, Response: nil}

	_ func() thole.Policy    = standard.Client
	_ func(int) thole.Policy = standard.Server
)

type limiter interface {
	thole.Policy
	Allow() bool
	AllowN(n int) bool
	Wait(ctx context.Context) error
	WaitN(ctx context.Context, n int) error
}

// The methods that all policies have.
type policy[Config, Stats any] interface {
	thole.Policy
	Stats() Stats
	Reconfigure(Config) error
	String() string
}

type config interface{ Validate() error }

var (
	_ policy[breaker.Config, breaker.Stats]   = breaker.New(breaker.Config{})
	_ policy[retry.Config, retry.Stats]       = retry.New(retry.Config{})
	_ policy[bulkhead.Config, bulkhead.Stats] = (*bulkhead.Bulkhead)(nil)
	_ policy[timeout.Config, timeout.Stats]   = (*timeout.Timeout)(nil)
	_ policy[hedge.Config, hedge.Stats]       = hedge.New(hedge.Config{})
	_                                         = []config{breaker.Config{}, retry.Config{}, bulkhead.Config{}, timeout.Config{}, hedge.Config{}, ratelimit.TokenBucketConfig{}, ratelimit.SlidingWindowConfig{}}

	_ = []thole.Gate{(*breaker.Breaker)(nil), (*bulkhead.Bulkhead)(nil), (*ratelimit.TokenBucket)(nil), (*ratelimit.SlidingWindow)(nil)}
)
