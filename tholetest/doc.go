// Package tholetest tests policies, and code that uses them.
//
// # Is it a policy?
//
// [Run] checks any implementation of thole.Policy against the nine clauses of its contract:
//
//	func TestMyPolicy(t *testing.T) {
//		tholetest.Run(t, func() thole.Policy { return mypolicy.New(3) })
//	}
//
// # A dependency that does as it is told
//
// A [Script] is a function to give to a policy: it fails, succeeds, takes its time, hangs and
// panics call by call, and keeps a record of each:
//
//	s := tholetest.NewScript(tholetest.Fail(errDown), tholetest.Hang(), tholetest.Succeed())
//	err := p.Do(ctx, s.Call)
//	tholetest.AssertAttempts(t, s, 3)
//
// A [Recorder] keeps what hooks were told.
//
// # A network that does as it is told
//
// [Network] is a network in memory: listeners, and connections with buffers, deadlines, half
// closing and resets. [NewListener] and [NewConn] put faults into any connections: latency,
// a slow sender, a reset or an end in the middle. [NewRoundTripper] puts faults into HTTP
// calls: errors, statuses, bodies that break off, crawl or hang.
//
// # Time
//
// All of it works inside the bubbles of testing/synctest, where time passes at once when
// everybody waits: the sockets of the operating system do not, those of Network do. So an
// http.Client, an http.Server and the policies between them can live through an hour of
// outage in a millisecond.
//
// This is the one package of the module that depends on package testing. Use it in tests only.
package tholetest
