// Package thole makes calls endure: circuit breaker, retry, bulkhead, rate limit, timeout
// and hedge share one interface, compose in any order, and guard an http.Client, an
// http.Handler, a gRPC connection or a plain function alike.
//
// # Policies
//
// A [Policy] guards a destination. It sees a call as a function of a context that returns
// an error, so one breaker serves many edges and result types at once. Each mechanism is a
// package of its own, made from a Config whose zero fields mean documented defaults:
//
//	payments := thole.Chain(
//		timeout.New(timeout.Config{Limit: 2 * time.Second}),
//		retry.New(retry.Config{}),
//		breaker.New(breaker.Config{Name: "payments"}),
//		timeout.New(timeout.Config{Limit: 500 * time.Millisecond}),
//	)
//
// [Chain] runs the outermost first: here a total limit, around retries, around a breaker,
// around each attempt's own limit. [Do] carries a typed result through it, [DoOr] with an
// alternative for when all else failed:
//
//	receipt, err := thole.Do(ctx, payments, func(ctx context.Context) (Receipt, error) {
//		return client.Charge(ctx, order)
//	})
//
// For HTTP and gRPC the packages tholehttp and tholegrpc do that; package standard has
// sensible chains ready. [Keyed] and [PerTarget] give each key or destination a policy of its
// own. [Explain] tells what a chain does to a call, and [Lint] finds known mistakes in it.
//
// # Errors
//
// The edge decides what a failure is; [OutcomeOf] has the default reading. A function says
// more about its error by marking it: [Answer] for a good answer that happens to be an
// error (sql.ErrNoRows), [Permanent] for a failure that no retry will mend.
//
// Policies speak with each other through errors, and so can you: [ErrRejected] matches every
// error that means fn was not run, [ReasonOf] says why in one word, [RetryAfter] how long to
// wait. None of them needs to know which package an error is from.
//
// # Context
//
// [Once] says that a call may have effects and must run at most once, whatever the chain
// would do otherwise; [AttemptFrom] tells a function which attempt it is; [WithTarget] names
// the destination.
//
// # Load
//
// What retries and hedges add is bounded by a [Budget]: on by default, 20 % of the calls, and
// shared by all policies that are given the same one.
//
// # Policies of your own
//
// Implement [Policy] and keep its contract; package tholetest checks it. Optional methods let
// a policy take part in more: String, Describe ([Description]), InUse (see [Keys]); [Gate]
// makes it free of overhead in a chain; [Lifetime] lets it hold on while a result is read.
package thole
