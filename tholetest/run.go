package tholetest

import (
	"fmt"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/thole-go/thole"
)

// Run checks that the policies newPolicy makes keep the contract of a [thole.Policy], each
// clause in subtests of its own, named after it: "clause2/success_after_cancel". A failure says
// which clause is broken, how that showed, and why it matters.
//
// newPolicy must return a new policy each time: every case spoils its own. The policy may
// reject, wait, retry, limit and open as it is made to; a new one must let its first call
// through. Cases run in synctest bubbles, so waits cost nothing; a policy that hangs on a
// mutex is given up after some seconds of real time, and its goroutines are left behind.
//
// Not everything can be seen from outside. Capacity that leaks is noticed when all of it is
// gone after 500 calls: test with small limits. Data races show under go test -race
// alone. Clause 8 is checked if [Hooks] is given, clause 9 to its full extent if
// [ConfigChange] is.
func Run(t *testing.T, newPolicy func() thole.Policy, opts ...Option) {
	t.Helper()
	o := newOptions(opts)
	for _, c := range cases {
		t.Run(c.String(), func(t *testing.T) {
			if why := o.skip(c); why != "" {
				t.Skip(why)
			}
			for _, v := range c.violations(t, newPolicy, o) {
				t.Error(c.report(v))
			}
		})
	}
}

// An Option tells [Run] what it cannot find out about a policy.
type Option func(*options)

type options struct {
	hedges   bool
	hooks    func(hook func()) thole.Policy
	change   func() (thole.Policy, func())
	patience time.Duration // real time after which a case hangs
}

func newOptions(opts []Option) *options {
	o := &options{patience: 30 * time.Second}
	for _, opt := range opts {
		opt(o)
	}
	return o
}

// Hedges says that the policy runs fn several times side by side and does not wait for
// those that lost: clause 6 excepts it. What the other clauses say of a call whose context
// ends while fn runs is then not checked either, for the policy returns before fn does.
func Hedges() Option {
	return func(o *options) { o.hedges = true }
}

// Hooks lets [Run] check clause 8. newPolicy returns a new policy, each of whose hooks calls
// hook. They must be hooks that hear of calls which fail, or of what follows from that: a
// circuit that opens, a retry.
func Hooks(newPolicy func(hook func()) thole.Policy) Option {
	return func(o *options) { o.hooks = newPolicy }
}

// ConfigChange lets [Run] check clause 9. newPolicy returns a new policy, and a function that
// changes everything in its configuration that the maker can still reach: the elements of
// slices and maps, the fields behind pointers.
func ConfigChange(newPolicy func() (p thole.Policy, change func())) Option {
	return func(o *options) { o.change = newPolicy }
}

// A testCase checks one thing that a clause demands.
type testCase struct {
	clause int
	name   string
	why    string
	check  func(*kit)

	waits  bool // says something of a call whose context ends while fn runs, or is for clause 6
	hooks  bool // needs Hooks
	change bool // needs ConfigChange
}

// report words a failure.
func (c testCase) report(violation string) string {
	if c.clause == 0 {
		return fmt.Sprintf("%s\nIt matters: %s", violation, c.why)
	}
	return fmt.Sprintf("clause %d of thole.Policy is broken: %s\nIt matters: %s", c.clause, violation, c.why)
}

func (c testCase) String() string { return fmt.Sprintf("clause%d/%s", c.clause, c.name) }

// skip returns why c is not to be checked, or "".
func (o *options) skip(c testCase) string {
	switch {
	case c.waits && o.hedges:
		return "a hedge is excepted"
	case c.hooks && o.hooks == nil:
		return "not checked without tholetest.Hooks"
	case c.change && o.change == nil:
		return "not checked without tholetest.ConfigChange"
	}
	return ""
}

// cases are all there are, in the order of the clauses.
var cases = flatten(
	basicCases, concurrencyCases, resultCases, rejectionCases, contextCases,
	returnCases, panicCases, hookCases, configCases,
)

func flatten(lists ...[]testCase) []testCase {
	var all []testCase
	for _, l := range lists {
		all = append(all, l...)
	}
	return all
}

// violations runs the case in a bubble and returns what it found. It never fails t itself
// (the race detector may), so that the kit can be tested.
func (c testCase) violations(t *testing.T, newPolicy func() thole.Policy, o *options) []string {
	k := &kit{options: o, newPolicy: newPolicy}
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer func() {
			// A bubble that ends with goroutines in it panics, here.
			if r := recover(); r != nil {
				k.failf("goroutines that the policy started, or its calls, are blocked for ever (see clause 6): %v", r)
			}
		}()
		synctest.Test(t, func(*testing.T) { k.run(c.check) })
	}()
	select {
	case <-done:
	case <-time.After(o.patience):
		k.failf("the policy hangs: a goroutine is blocked by something other than a channel, most likely a lock that is held\n%s", k.stacks())
	}
	return k.found()
}

// kit is what a case works with.
type kit struct {
	*options
	newPolicy func() thole.Policy

	mu       sync.Mutex
	failures []string
	bubble   string
}

// run is the main goroutine of a bubble.
func (k *kit) run(check func(*kit)) {
	k.mu.Lock()
	k.bubble = ownBubble()
	k.mu.Unlock()
	defer func() {
		if r := recover(); r != nil {
			k.failf("the policy panicked where none was expected: %v", r)
		}
		time.Sleep(longTime) // what was lost by a hedge ends
	}()
	check(k)
}

// failf notes a violation. The first few tell all there is to tell.
func (k *kit) failf(format string, args ...any) {
	k.mu.Lock()
	defer k.mu.Unlock()
	const enough = 5
	if len(k.failures) < enough {
		k.failures = append(k.failures, fmt.Sprintf(format, args...))
	}
}

func (k *kit) found() []string {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]string(nil), k.failures...)
}

// stacks returns the stacks of the bubble's goroutines.
func (k *kit) stacks() string {
	k.mu.Lock()
	bubble := k.bubble
	k.mu.Unlock()
	var s strings.Builder
	for _, g := range goroutinesOf(bubble) {
		s.WriteString(g)
		s.WriteString("\n\n")
	}
	return s.String()
}
