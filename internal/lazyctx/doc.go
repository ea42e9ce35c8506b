// Package lazyctx has a context that a policy makes for each call: cancellable, with a
// deadline if wanted, and cheap as long as fn does not wait on it.
//
// context.WithDeadline makes a context, a timer, a Done channel and a cancel function: four
// allocations, and more than half a microsecond, most of it for the timer. A function that
// answers from memory, or does one short computation, never asks for any of that. So a
// [Context] is a single struct until somebody asks for Done, which everything does that
// waits or derives a cancellable child; then it makes the real thing with package context,
// keeps it inside and passes questions on to it. Children, context.AfterFunc, context.Cause
// and cancellation without extra goroutines are therefore the standard library's own code
// at work, not a copy of it.
//
// Two things are more than package context can do. [Context.Cancel] on a context that
// nobody waited on costs one compare-and-swap; and the deadline of a context made with
// [Context.InitStoppable] can be called off with [Context.Disarm] while the context, and
// all that derives from it, live on. The second is what an HTTP response needs whose body
// is read after the time limit on the request has done its work.
package lazyctx
