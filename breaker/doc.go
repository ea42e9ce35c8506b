// Package breaker is a circuit breaker: it stops calls to a callee that fails, so that the
// callers don't wait for nothing and the callee gets a rest, and finds out by a few probes when
// calls are worth making again.
//
//	b := breaker.New(breaker.Config{Name: "payments"})
//	err := b.Do(ctx, func(ctx context.Context) error { return client.Charge(ctx, order) })
//	if errors.Is(err, breaker.ErrOpen) {
//		// not called: the circuit is open
//	}
//
// A breaker guards one destination. For many, make one for each, see [thole.PerTarget].
//
// # Closed: when it opens
//
// Calls pass and their outcomes are counted. Any of these rules opens the circuit:
//
//   - ConsecutiveFailures: so many failures in a row. The cheapest, and right where a callee
//     either works or doesn't.
//   - FailureRatio: so large a part of the recent calls failed, once there were MinCalls of
//     them. Recent are the calls of the last Window, or the last WindowCalls calls. This is the
//     default: half of at least 20 calls in 10 s.
//   - SlowCall: so large a part (SlowRatio) of the recent calls took longer than SlowCall. A call
//     counts as soon as it has taken longer, without having to end: when a callee hangs, the
//     circuit opens after SlowCall and not only after the callers' timeouts.
//
// What a failure is, the error says: see [thole.OutcomeOf]. A rejection by a policy further in
// and the caller's own cancellation are ignored: they count neither as a failure nor as a call.
// Config.Outcome decides otherwise.
//
// # Open: for how long
//
// Calls are refused with an [OpenError], which costs no more than reading the clock and tells
// the time left. The open time is OpenFor at first and doubles with each recovery that fails, up
// to MaxOpenFor. It is shortened at random by up to a tenth, so that the breakers of many
// processes don't probe in step.
//
// # Half-open: how it recovers
//
// As soon as the open time is over, [Breaker.State] is HalfOpen and the next calls are probes:
// Probes of them at a time, the rest are refused. ProbeSuccesses successes close the circuit, any
// failure opens it again. A probe that is cancelled or ignored gives its place back and proves
// nothing; so does one that has not ended after ProbeTimeout, whose result then changes
// nothing.
//
// Each change of state begins a new generation. The result of a call of an earlier one, which
// was let pass before the circuit opened perhaps, changes no count and no state.
//
// With RampUp, closing admits a share of the calls that rises from 0 to 1 in that time, for a
// callee with cold caches. If it fails in the ramp, the open time doubles.
//
// # By hand
//
// [Breaker.Isolate] opens the circuit for a time or until [Breaker.Reset], which closes it.
// [Breaker.Reconfigure] changes the configuration in place. With Shadow the breaker only tells
// what it would do: set it to try a configuration out in production.
//
// # Order
//
// Inside a retry, so that each attempt counts and an open circuit ends the retrying, or makes it
// wait where there is time for that; around the time limit of a single attempt, so that timeouts count as failures. See [thole.Chain].
//
// # Cost
//
// Do allocates nothing. Where only ConsecutiveFailures is set, a success reads two words and
// writes none. A window of time costs a clock reading and one compare-and-swap, one of calls the
// compare-and-swap alone; SlowCall a reading and a few more atomic operations.
//
// The pattern is Michael Nygard's, from "Release It!".
package breaker
