// Package ratelimit bounds how many calls go ahead in a span of time.
//
// # Which limiter
//
// A [TokenBucket] allows a rate, and after a pause a burst:
//
//	limiter := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{
//		Rate:  ratelimit.Per(100, time.Second),
//		Burst: 20,
//	})
//
// Any interval t sees at most Burst + Rate × t calls. It costs one atomic operation. Take it
// unless the limit to be kept is of another kind.
//
// A [SlidingWindow] allows so many calls in any window of time, as quotas of other people's
// services are often worded ("1,000 requests in an hour"). A token bucket of that rate and
// burst could let up to twice as many through in one such hour. With Exact none
// is too many; without, constant memory is paid for by an error whose worst case is stated.
//
// A [Keyed] is a token bucket for each user, address or tenant.
//
// # Asking
//
// There are three ways to ask, and a call refused has taken nothing:
//
//   - Allow answers at once;
//   - Wait waits in line as long as its context allows, and refuses at once what the
//     context's deadline can't meet;
//   - Do is the policy: it runs fn if it gets a token within MaxWait, which by default is at
//     once. Tokens of calls that fail do not come back.
//
// A token bucket has Reserve as well: it promises tokens for a certain time, and the
// reservation can be cancelled.
//
// Those that wait are served in order. Nobody passes them: while somebody waits, Allow is
// false and a reservation comes behind.
//
// # Refusals
//
// A refusal for want of a token matches [ErrLimited] and thole.ErrRejected, and tells by
// RetryAfter when a token will be free. Asking for more tokens than there can ever be matches
// [ErrBurst] instead, and has no RetryAfter. A context that ends a wait is matched too.
//
// # Changing the rate
//
// Reconfigure changes a limiter in place: tokens and places in line stay, and those that wait
// get new times.
package ratelimit
