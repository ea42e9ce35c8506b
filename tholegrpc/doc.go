// Package tholegrpc puts policies of package thole around gRPC calls: on a client and on a
// server, around unary calls and streams. It works with any thole.Policy.
//
// # A client
//
//	conn, err := grpc.NewClient("dns:///shop:443",
//		append(tholegrpc.DialOptions(standard.Client()), creds)...)
//
// The connection is used as before. What changes is when calls are made, and how often. The
// interceptors can be had alone, [UnaryClientInterceptor] and [StreamClientInterceptor], and
// be chained with others: those that come after run for each attempt, those before once a
// call. An interceptor serves any number of connections, as its policy does.
//
// # What policies see
//
// Each attempt is to them a function that returns an error. Which error is a failure is
// decided here, at the edge, by its status code: NotFound is an answer, Unavailable a
// failure. [DefaultOutcome] has the table with its reasons, [WithOutcome] replaces it.
// Messages that were too large to be sent or taken, by a limit on this side, are Ignored.
// Policies find the destination by [thole.TargetFrom]: the dial target, or what [WithTarget]
// and [WithMethodTargets] make of it.
//
// # What is repeated
//
// A unary call is made more than once only if its method is repeatable: because its proto
// option idempotency_level says so and its file is linked into the program, or because
// [WithRepeatable] does. For all others the policies' context says [thole.Once], and a policy
// that runs the attempt again regardless gets the outcome of the first. Then
//
//   - Unavailable is tried again;
//   - ResourceExhausted only if the server says when: by the trailer grpc-retry-pushback-ms, or
//     a google.rpc.RetryInfo in the status' details;
//   - DeadlineExceeded only if a time limit inside the retry ended the attempt;
//   - and the codes that [WithRetryCodes] names.
//
// A server that names a time is not asked again before it, and one that says no, by a negative
// or malformed pushback, is not asked again at all.
//
// gRPC retries too, where a service config has a retryPolicy, and then the attempts multiply:
// three of ours times four of gRPC's make twelve. [DialOptions] switches that off. An
// interceptor that was installed otherwise logs a warning, once for a method, when it sees such
// a policy beside one of its own; it can't see grpc.WithDisableRetry, and is told of it by
// [WithNativeRetriesOff]. Package serviceconfig makes policies of a service config.
//
// # What the caller gets
//
// Answers and failures come as they would without policies: the same error with its details,
// the header, trailer and peer of the attempt that is returned, and a call of OnFinish at the
// end. An error to which policies have something to add is an [*Error]: the policies' own, to be
// found by errors.Is, with a status. [RejectionCode] tells which code a refusal gets.
//
// Under a hedge, attempts run side by side. Each then has a reply, header, trailer and peer of
// its own, and the winner's are handed over once; the losers' are dropped. That costs an extra
// message, so it is done only if the policies do not promise (by Describe, see
// [thole.Description].Blocking) that attempts follow one another, and only for calls that may
// be repeated. They share the request, and a loser may still be reading it when the call has
// returned: do not change it then, nor use it again. A reply that is no protobuf message must be a pointer to a zero value; with any
// other the call is made once.
//
// # Streams
//
// See [StreamClientInterceptor]: a stream is one run, from before it is there until it has
// ended. It is not repeated once it is there, and never hedged. A breaker's SlowCall, if set,
// judges its whole duration: give long-lived streams a breaker of their own.
//
// # A server
//
//	srv := grpc.NewServer(tholegrpc.ServerOptions(standard.Server(100))...)
//
// The handler runs inside the policy, once. The policy sees the outcome by the handler's
// status code, a stream's as that of a call. A call that the policy refuses gets a status with
// the code of [RejectionCode], a RetryInfo and the trailer grpc-retry-pushback-ms: the time
// that the policy knows, 1 s if it knows none, -1 if no wait would help. Where the client had
// gone the outcome is Ignored. The handler's context has the policies' deadline; their marks
// (Once, the target) end there, so that calls which the handler makes are calls of their own.
// Clients retry Unavailable, which is what a full server answers, elsewhere: that is why it is
// not ResourceExhausted, which stands for a rate limit.
//
// [PreviousAttempts] tells a handler how often the client has tried before.
package tholegrpc
