// Package hedge cuts the tail of latencies: when a call takes longer than most, it starts
// another attempt beside the first and takes the answer that comes first.
//
//	h := hedge.New(hedge.Config{Name: "search"})
//	err := h.Do(ctx, func(ctx context.Context) error { ... })
//
// The idea and the figures are those of Dean and Barroso, The Tail at Scale, Communications
// of the ACM 56 (2013): to hedge what takes longer than the 95th percentile adds some percent
// of load and takes most of the tail away.
//
// # When another attempt starts
//
// After [Config] Delay, or after the live Quantile of the latencies of recent successes; with
// neither set, the 0.95 quantile. That is estimated from the last 500 to 1,000 attempts, and
// not before 100 of them are known; a higher quantile takes more of both. An attempt that was cut short counts as one that would
// have taken at least so long, so a service that is slow for everybody is soon not hedged.
//
// No other attempt starts for a call marked by thole.Once, after an attempt was rejected by
// a policy further in (a full bulkhead, an open breaker: more load is the last thing that
// helps), when the budget is spent, or after the caller has given up.
//
// # Which answer counts
//
// The first success, or error marked by thole.Answer. A failure ends nothing while another
// attempt runs. The first attempt failing alone is returned at once: to repeat what failed
// is a retry's work. If all attempts fail, an [*Error] leads with the error of the first.
//
// # What becomes of the others
//
// Each attempt runs in its own goroutine, with its own context. When one has won, the
// contexts of the others are cancelled at once, and Do does not wait for them: a hedge alone
// among the policies may leave a goroutine behind, until fn obeys its context. Do returns as
// promptly when the caller's context ends. So fn must not write to variables of the caller;
// thole.Do, which hands over the value of the winner alone, is the way to get one.
//
// A panic in an attempt, or a runtime.Goexit, is raised again in the goroutine that called
// Do; in a loser, after Do has returned, it is swallowed and counted in [Stats].
//
// A call marked by thole.Once runs in the caller's goroutine, and Do waits for it.
//
// # Results that live on
//
// If the caller's context carries a [thole.Lifetime], each attempt gets one of its own. The
// winner's is handed over to the caller's; that of any other attempt ends when its fn has
// returned, so that a failed response does not hold on to a connection which the other
// attempt may be waiting for.
package hedge
