// Package timeout limits how long a call may take.
//
//	t := timeout.New(timeout.Config{Name: "payments", Limit: 2 * time.Second})
//	err := t.Do(ctx, func(ctx context.Context) error {
//		return db.QueryRowContext(ctx, query).Scan(&balance)
//	})
//
// The function gets a context with a deadline: the sooner of the caller's own and now plus
// the limit. The deadline is visible by ctx.Deadline, so it travels with a gRPC call, and
// context.Cause names the policy that set it.
//
// # The limit is cooperative
//
// Do waits for fn: a function that never looks at its context takes as long as it takes. In
// return there is no goroutine that goes on behind the caller's back, nothing that still
// writes to the caller's variables, and no data race. What comes back late but well is a
// success: nobody is served by throwing a result away.
//
// # Whose fault it was
//
// When the limit ended the call and the error of fn wraps that of a context, Do returns an
// [*Error]. It matches [ErrTimeout] and context.DeadlineExceeded, is a net.Error that
// reports Timeout, and keeps what fn said. Everything else comes back as it is: an error of
// fn that has nothing to do with the context, however late; the caller's own cancellation,
// or a deadline of the caller's that was the sooner one; and the timeout of a policy further
// in, if nothing else happened. So of two nested limits only one reports, the one that
// struck.
//
// # Results that live on
//
// When fn returns its context is cancelled, and reads as such from then on. Not so if the
// caller's context carries a [thole.Lifetime], as the edges' do: an HTTP body is read after
// the call. Then the limit stops counting when fn returns (for HTTP: when the headers have
// come; it does not cover the body), and the context lives until the lifetime ends.
//
// # Cost
//
// The context is a single allocation, and has no timer, until fn asks for its Done channel
// or derives a child from it that can be cancelled.
package timeout
