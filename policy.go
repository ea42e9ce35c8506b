package thole

import "context"

// Policy guards calls to a destination. It sees a call as a function of a context that
// returns an error, and nothing else; whatever the call yields leaves through the
// function's own variables (see [Do]).
//
// The contract, which package tholetest checks on any implementation:
//
//  1. A Policy is safe for concurrent use.
//  2. If a run of fn returned nil, Do returns nil, even if ctx ended meanwhile: a success
//     is never thrown away.
//  3. An error of fn stays reachable by errors.Is and errors.As.
//  4. If fn never ran, the error matches [ErrRejected]; where a context ended the wait it
//     matches that context's error too. A ctx that is already done runs nothing, takes
//     nothing (no permit, token or probe), and Do returns ctx.Err().
//  5. The context given to fn descends from the caller's, and its values reach fn. ctx is
//     never stored beyond the call.
//  6. Runs of fn do not overlap, and all have returned and no goroutine is left before Do
//     returns; a hedge alone is excepted, and says so.
//  7. A panic or runtime.Goexit in fn counts as a [Failure], frees what was held, is never
//     retried, and continues up with its stack: settle in a defer, do not recover. In a
//     hedged attempt it is raised again, with the same value, in the caller's goroutine; that
//     of a loser after return is swallowed and counted.
//  8. Hooks run outside every lock and may call back into the policy, and a panic in one
//     leaves the policy usable.
//  9. Configuration is copied when the policy is made; nothing the caller changes later
//     reaches inside.
//
// The function's type is unnamed, so a package can satisfy Policy without importing this
// one.
type Policy interface {
	Do(ctx context.Context, fn func(context.Context) error) error
}

// PolicyFunc is a function that serves as a [Policy].
type PolicyFunc func(ctx context.Context, fn func(context.Context) error) error

// Do calls f(ctx, fn).
func (f PolicyFunc) Do(ctx context.Context, fn func(context.Context) error) error {
	return f(ctx, fn)
}
