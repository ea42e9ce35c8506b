package standard

import (
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

// Client returns a policy for calls to other services. From the outside in:
//
//   - a total time limit of 30 s;
//   - up to 3 attempts, for calls that may be repeated, after full jitter from 100 ms, within a
//     budget of 20 % of the calls (at least 10 a second);
//   - a circuit breaker for each target, which opens for 1 s, growing to 5 s, when 60 % of at
//     least 20 attempts in 20 s failed, or 12 in a row: the ratio takes no notice of a destination
//     that fails one attempt in five, nor of one that fails each call once, which retries mend;
//     while the row finds one that is dead within a dozen;
//   - a time limit of 10 s for each attempt.
//
// Each call to Client makes a new, independent one: keep it as long as the client it is for.
func Client() thole.Policy {
	return thole.Chain(
		timeout.New(timeout.Config{Name: "total", Limit: 30 * time.Second}),
		retry.New(retry.Config{MaxAttempts: 3}),
		thole.PerTarget(func(target string) thole.Policy {
			return breaker.New(breaker.Config{
				Name:                target,
				ConsecutiveFailures: 12,
				FailureRatio:        0.6,
				MinCalls:            20,
				Window:              20 * time.Second, // two rounds of attempts that hang
				OpenFor:             time.Second,
				MaxOpenFor:          5 * time.Second,
				ProbeTimeout:        15 * time.Second, // longer than an attempt that hangs, or that would count for nothing
			})
		}),
		timeout.New(timeout.Config{Name: "attempt", Limit: 10 * time.Second}),
	)
}
