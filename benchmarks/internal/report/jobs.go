package report

import "cmp"

// Job is a row of the table of costs.
type Job struct {
	Name  string // of the benchmark
	Title string
	Procs int // 0 = 1
	Bar   Bar

	// Baseline is what the job costs without any policy, if that is not nothing. It is no
	// peer.
	Baseline string

	// Floor names the floor benchmark that comes nearest to the least the job can cost.
	Floor string

	// Yardstick names the floor benchmark by which Bar.NS is translated to the machine of the
	// run; empty, it is Floor. It is another where the Floor says little of how fast a machine
	// does the job. What comes down to a plain call goes by an atomic add, for a call of its own
	// was measured by another loop on the reference machine. What allocates goes by
	// context.WithTimeout, which spends its time there too.
	Yardstick string

	Remarks map[string]string // about contenders that do less than the whole job
	Why     string            // where our time goes; shown if the bar is missed
}

// Bar is what a job may cost. What is 0 is not asked for.
type Bar struct {
	NS     float64 // on the machine of the reference floor
	Allocs int     // beyond those of the Baseline
	Ratios []Ratio
	Extra  int // in place of NS and Allocs: allocations beyond those of OverRow
	Over   string
}

// Ratio bounds our time by another contender's: ours ≤ AtMost × theirs.
type Ratio struct {
	To     string
	AtMost float64
}

// reference is the floor, in ns, of the machine on which the bars were set. What a floor takes
// in a run tells how bars of its kind translate to the machine of the run.
var reference = []struct {
	name string
	ns   float64
}{
	{"atomic add", 6},
	{"CAS", 5},
	{"mutex", 12},
	{"clock", 27.5},
	{"time.Now", 53},
	{"clock + CAS", 31},
	{"context.WithTimeout", 530},
	{"goroutine + channel", 430},
	{"timer", 210},
}

const (
	ours      = "thole"
	failsafe  = "failsafe-go"
	bare      = "bare"
	stdlibCtx = "context.WithTimeout"
	atomicAdd = "atomic add"
)

const (
	permitsAlone = "failsafe-go, permits alone"
	lean         = "hand-written, lean"
)

const remarkPermits = "no call is guarded: the permit and its return only"

// Yardstick returns the name of the floor benchmark that is to run within a job's benchmark, so
// that it is measured in the same moment: see [Job]. It is empty if the job has no bar in ns.
func Yardstick(job string) string {
	for _, j := range jobs {
		if j.Name == job && j.Bar.NS > 0 {
			return j.yardstick()
		}
	}
	return ""
}

func (j Job) yardstick() string { return cmp.Or(j.Yardstick, j.Floor) }

// referenceOf returns what a floor benchmark takes on the reference machine, 0 if that is not
// known.
func referenceOf(floor string) float64 {
	for _, f := range reference {
		if f.name == floor {
			return f.ns
		}
	}
	return 0
}

// jobs are the rows that have a bar.
var jobs = []Job{
	{
		Name: "BreakerClosedRow", Title: "breaker closed, failures in a row", Floor: "direct call", Yardstick: atomicAdd,
		Bar:     Bar{NS: 8},
		Remarks: map[string]string{permitsAlone: remarkPermits, "eapache": "forgets successes; a goroutine sleeps while it is open"},
		Why:     "two loads of atomic pointers, a deferred settling, and the call itself",
	},
	{
		Name: "BreakerClosedWindow", Title: "breaker closed, ratio in a window of time", Floor: "clock + CAS",
		Bar:     Bar{NS: 45},
		Remarks: map[string]string{permitsAlone: remarkPermits},
		Why:     "one reading of the clock, without which no bucket of the window can be told, is two thirds; an atomic addition to the bucket, the lookup of its number and the call are the rest",
	},
	{
		Name: "BreakerOpen", Title: "breaker open, rejecting", Floor: "clock",
		Bar:     Bar{NS: 30},
		Remarks: map[string]string{permitsAlone: remarkPermits, "eapache": "reads no clock: a goroutine sleeps while it is open"},
		Why:     "one reading of the clock, which tells whether the open time is over, and nothing beside it that is worth a name",
	},
	{
		Name: "RetryFirst", Title: "retry, first try succeeds", Floor: "direct call", Yardstick: atomicAdd,
		Bar: Bar{NS: 15},
		Remarks: map[string]string{
			"avast, made once":  "one context for all calls",
			"hand-written loop": "no delay, budget, or reading of errors",
		},
		Why: "the budget's atomic addition, a sixteenth of its booking, for which the clock is read, and the call; the contenders below the bar keep no budget",
	},
	{
		Name: "RetryThird", Title: "retry, third try succeeds, no delay", Floor: "direct call", Yardstick: stdlibCtx,
		Bar:     Bar{NS: 250, Allocs: 2},
		Remarks: map[string]string{"avast, made once": "one context for all calls", "hand-written loop": "no reading of errors"},
		Why:     "two contexts that tell the attempt's number, the reading of two errors, and the budget",
	},
	{
		Name: "TokenBucketAllow", Title: "token bucket, allow", Floor: "clock + CAS",
		Bar:     Bar{NS: 36},
		Remarks: map[string]string{permitsAlone: "refills in steps", "uber": "waits, cannot refuse"},
		Why:     "one reading of the clock and one compare-and-swap, which is the floor, and about 5 ns of arithmetic that keeps the remainder of a period which is no whole number of nanoseconds",
	},
	{
		Name: "TokenBucketReject", Title: "token bucket, reject", Floor: "clock",
		Bar:     Bar{NS: 30},
		Remarks: map[string]string{permitsAlone: "refills in steps"},
		Why:     "one reading of the clock, without which there is no telling that the token has not come, and the arithmetic",
	},
	{
		Name: "TokenBucketKeyed", Title: "token bucket keyed, 10,000 keys", Floor: "clock + CAS",
		Bar:     Bar{NS: 75},
		Remarks: map[string]string{"map of x/time": "never forgets a key"},
		Why:     "one reading of the clock and one compare-and-swap, the hash of the key and the lookup in a map of ten thousand, whose cache misses are the machine's, and the hold that keeps the key from being forgotten meanwhile",
	},
	{
		Name: "SlidingWindowAllow", Title: "sliding window, allow", Floor: "clock + CAS",
		Bar: Bar{NS: 50},
		Why: "one reading of the clock and one compare-and-swap of the word that holds both counts; the exact form takes a mutex in its place",
	},
	{
		Name: "BulkheadFree", Title: "bulkhead free, acquire and release", Floor: "CAS",
		Bar:     Bar{NS: 16},
		Remarks: map[string]string{permitsAlone: remarkPermits, "x/sync": "a panic keeps the permit", "channel": "a panic keeps the permit"},
		Why:     "a compare-and-swap to enter and an atomic addition to leave, which together are two thirds; a deferred release, and the look for a lifetime in the context",
	},
	{
		Name: "BulkheadFull", Title: "bulkhead full, reject", Floor: "direct call", Yardstick: atomicAdd,
		Bar:     Bar{NS: 6},
		Remarks: map[string]string{permitsAlone: remarkPermits},
		Why:     "a load, a comparison, and a load of the error",
	},
	{
		Name: "ParallelBulkheadContended", Title: "bulkhead, 1 permit, 8 goroutines", Floor: "goroutine + channel",
		Bar:     Bar{NS: 350, Allocs: 1},
		Remarks: map[string]string{permitsAlone: remarkPermits},
		Why:     "nine tenths are the scheduler's: each call yields once while it holds the permit, then is parked and made ready, as with a channel, which is the best peer. Two locked sections, the joining and the handing on in order, are the rest. Channels keep the order too, but know no limit to the queue, no time limit and no weights",
	},
	{
		Name: "TimeoutFast", Title: "timeout around a fast call", Floor: "clock",
		Bar:     Bar{NS: 90, Allocs: 1},
		Remarks: map[string]string{"eapache": "the call gets a channel, no context"},
		Why:     "one reading of the clock and one allocation of 48 bytes, with its share of the garbage collector",
	},
	{
		Name: "TimeoutDone", Title: "timeout, the call asks for Done", Floor: stdlibCtx,
		Bar: Bar{Ratios: []Ratio{{stdlibCtx, 1.2}}, Allocs: -1},
		Why: "a context of the standard library, made when Done is first asked for, and the deadline context in front of it",
	},
	{
		Name: "HedgeQuiet", Title: "hedge, none fired", Floor: "goroutine + channel",
		Bar:     Bar{NS: 500, Allocs: 4},
		Remarks: map[string]string{"goroutine + channel": "no second attempt"},
		Why:     "a goroutine and its scheduling, two allocations, and two locked sections",
	},
	{
		Name: "Chain", Title: "timeout → retry → breaker → bulkhead → limiter", Floor: "clock + CAS",
		Bar:     Bar{NS: 200, Allocs: 1, Ratios: []Ratio{{failsafe, 1.0 / 14}, {lean, 1.0 / 3}}},
		Remarks: map[string]string{lean: "no probes, jitter, budget, statistics, names"},
		Why:     "the parts are the floor: one reading of the clock that all five share, six atomic operations, a deadline context of 48 bytes, and a frame from a pool",
	},
	{
		Name: "ChainNoTimeout", Title: "the same without the timeout", Floor: "clock + CAS",
		Bar:     Bar{NS: 110},
		Remarks: map[string]string{lean: "no probes, jitter, budget, statistics, names"},
		Why:     "one reading of the clock that all four share, four atomic operations, and a frame from a pool",
	},
	{
		Name: "ChainValue", Title: "`thole.Do[T]` over the five", Floor: "clock + CAS", Baseline: "thole, no value",
		Bar: Bar{Allocs: 2},
		Why: "the place of the result, which hedged attempts may race for, and the bound method",
	},
	{
		Name: "Transport", Title: "RoundTripper over an instant stub: timeout, retry, breaker", Floor: "clock + CAS", Yardstick: stdlibCtx, Baseline: bare,
		Bar:     Bar{NS: 600, Allocs: 8},
		Remarks: map[string]string{"thole, standard.Client": "two timeouts; a breaker for each target, with a row and a window"},
		Why:     "three allocations besides the stub's response: the call, with the copy of the request and the lifetime within it, its attempt as a function, and the deadline context; and their share of the garbage collector",
	},
	{
		Name: "TransportHedge", Title: "RoundTripper over an instant stub: hedge not fired", Floor: "goroutine + channel", Baseline: bare,
		Bar: Bar{NS: 1100, Allocs: -1},
		Why: "a goroutine and its scheduling are half of it; the call, which holds the copy of the request, two lifetimes, two contexts and the guard of the body are the rest",
	},
	{
		Name: "HTTPClient", Title: "http.Client on loopback: timeout, retry, breaker", Floor: stdlibCtx, Baseline: bare,
		Bar:     Bar{Ratios: []Ratio{{bare, 1.05}}, Allocs: -1},
		Remarks: map[string]string{"hand-written, timeout alone": "context.WithTimeout, ended when the body is closed"},
		Why:     "more than half of the difference is net/http's own handling of a context that can end, as the contender with the timeout alone shows: it derives another, with a timer, a channel and the registration at its parent, for each. The rest is what the RoundTripper costs over an instant stub, about twice as long here, since 40 µs of other code push it out of the processor's caches between two calls",
	},
	{
		Name: "Interceptor", Title: "gRPC client interceptor over an instant stub: retry, breaker", Floor: "clock + CAS", Yardstick: stdlibCtx, Baseline: bare,
		Bar: Bar{NS: 120, Allocs: 2},
		Why: "a frame from a pool, one allocation of 64 bytes for what gRPC may keep, the append of a call option for the trailer, and the budget's atomic addition",
	},
}
