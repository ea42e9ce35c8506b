// Package benchmarks measures thole beside other Go libraries that do the same jobs.
//
// Each *_test.go file holds one kind of job: first how every contender is made, then tests
// that each of them really does the job (opens, rejects, limits, retries), then benchmarks of
// the very same objects. The contenders of one job are configured to the same effect, and
// each is called in the cheapest way that passes the caller's context on where it can take
// one. Floor benchmarks, of what the machine itself charges for a call, a clock or an atomic
// operation, run beside them: read all figures as ratios to the floor of the same run.
//
// Run cmd/report for the table and the chart; see the README.
package benchmarks
