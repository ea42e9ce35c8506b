// Package retry runs a call again when it fails in a way that another run may mend.
//
//	r := retry.New(retry.Config{Name: "payments"})
//	err := r.Do(ctx, func(ctx context.Context) error {
//		return pay(ctx, order)
//	})
//
// That makes up to three attempts with growing, jittered delays between them, and bounds the
// retries of all calls together by a budget. The first attempt, if it succeeds, costs one
// atomic add and no allocation, and one allocation where the budget is shared.
//
// # What is retried
//
// Failures, as [thole.OutcomeOf] reads them: every error but a good answer (mark it with
// [thole.Answer]), the caller's own cancellation, and a rejection by a policy further in. An
// error that another attempt cannot mend is marked with [thole.Permanent] or
// backoff.Permanent; a call that must not run twice carries [thole.Once]. Config.RetryIf
// narrows it further. What is not retried comes back as it is.
//
// The rejections of an open circuit breaker or of a rate limiter tell when to come again. If
// that is soon enough, within half of the time that is left, the retrier waits for it, and
// otherwise stops: it never spins.
//
// # How long it waits
//
// A schedule is a factory of [github.com/cenkalti/backoff/v4.BackOff] values, called once a
// call and only when a first retry comes. [FullJitter] is the default; [DecorrelatedJitter],
// [Exponential] and [Constant] are the others here, and any factory of your own will do:
//
//	retry.Config{Backoff: func() backoff.BackOff { return backoff.NewExponentialBackOff() }}
//
// An error that asks for a longer wait ([thole.RetryAfter]: the Retry-After of an HTTP
// response, the time left of an open breaker) gets it, and up to a tenth more at random.
//
// # When it gives up
//
// As soon as it is known that no further attempt can be made: the attempts ran out, the next
// delay would not fit into the deadline of ctx or Config.MaxElapsed, the error asks for more
// than Config.MaxRetryAfter, the schedule ended, or the budget is spent. No delay is slept in
// vain. The [*Error] says how many attempts there were, over what time, and wraps the last
// error.
//
// # Budget
//
// A destination that fails for everybody must not be sent three times the load. Each call
// earns a fifth of a retry, and ten a second are allowed in any case; when that is spent a
// failing call comes back at once with an Error that matches [ErrBudget]. Share one
// [thole.Budget] between all retriers and hedges of a destination through Config.Budget.
package retry
