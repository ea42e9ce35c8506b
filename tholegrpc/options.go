package tholegrpc

import (
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
)

// Option configures an interceptor. One that has no meaning on its side (client or server,
// unary or stream) is accepted and does nothing there, so one list can serve all four.
type Option func(*config)

type config struct {
	repeatable  func(fullMethod string) bool
	outcome     func(fullMethod string, st *status.Status) thole.Outcome
	retryCodes  []codes.Code
	exempt      []func(fullMethod string) bool
	target      func(dialTarget, fullMethod string) string
	floor       time.Duration
	sendAttempt bool
	wholeStream bool
	nativeOff   bool // gRPC's own retries are known to be off
}

func newConfig(opts []Option) *config {
	c := &config{}
	for _, o := range opts {
		if o != nil {
			o(c)
		}
	}
	return c
}

// WithRepeatable names methods whose calls may be made more than once, in addition to those
// whose proto option idempotency_level says so. It is asked for each unary call that the
// option does not settle, and must be fast and safe for concurrent use.
//
// Client, unary.
func WithRepeatable(repeatable func(fullMethod string) bool) Option {
	return func(c *config) { c.repeatable = repeatable }
}

// WithOutcome replaces [DefaultOutcome]: it says what a status other than OK means for the
// health of the callee. It is not asked about what the caller's own context brought about.
// A status that it calls a Success is never retried.
//
// Client and server.
func WithOutcome(outcome func(fullMethod string, st *status.Status) thole.Outcome) Option {
	return func(c *config) { c.outcome = outcome }
}

// WithNativeRetriesOff says that the connection was dialled with grpc.WithDisableRetry, as
// [DialOptions] do. Without it, interceptors that repeat calls warn in gRPC's log, once a method,
// if the service config has a retryPolicy for it: they can't see that it is switched off.
//
// Client.
func WithNativeRetriesOff() Option {
	return func(c *config) { c.nativeOff = true }
}

// WithRetryCodes names codes that another attempt may mend, in addition to
// codes.Unavailable: a store whose transactions are small may name codes.Aborted. A code
// that is by [DefaultOutcome] a Success counts as Ignored then. It panics on codes.OK and on
// numbers that gRPC does not know.
//
// Client, unary.
func WithRetryCodes(retry ...codes.Code) Option {
	for _, code := range retry {
		if code == codes.OK || code > codes.Unauthenticated {
			panic(fmt.Sprintf("tholegrpc: WithRetryCodes: code %d: want one from 1 (Canceled) to 16 (Unauthenticated)", code))
		}
	}
	retry = slices.Clone(retry)
	return func(c *config) { c.retryCodes = append(c.retryCodes, retry...) }
}

// WithExempt lets the methods that match pass by the policy, such as health checks that
// have to be answered under overload too. Given several times, one match is enough. See
// [Methods] and [HealthAndReflection].
//
// Client and server.
func WithExempt(match func(fullMethod string) bool) Option {
	return func(c *config) {
		if match != nil {
			c.exempt = append(c.exempt, match)
		}
	}
}

// Methods returns a matcher of full method names. A pattern is such a name,
// "/pkg.Service/Method", or ends in a star and stands for all that begin like it:
// "/pkg.Service/*".
func Methods(patterns ...string) func(fullMethod string) bool {
	patterns = slices.Clone(patterns)
	return func(fullMethod string) bool {
		return slices.ContainsFunc(patterns, func(p string) bool {
			if prefix, ok := strings.CutSuffix(p, "*"); ok {
				return strings.HasPrefix(fullMethod, prefix)
			}
			return fullMethod == p
		})
	}
}

// HealthAndReflection matches the methods of gRPC's health and reflection services.
func HealthAndReflection(fullMethod string) bool {
	return strings.HasPrefix(fullMethod, "/grpc.health.") || strings.HasPrefix(fullMethod, "/grpc.reflection.")
}

// WithTarget says what [thole.TargetFrom] tells policies, and [thole.PerTarget] keys on. The
// default is the dial target on a client and the full method on a server, where dialTarget
// is "". target is asked once for each method, and again if there are very many of them.
//
// Client and server.
func WithTarget(target func(dialTarget, fullMethod string) string) Option {
	return func(c *config) { c.target = target }
}

// WithMethodTargets makes dial target and method together the target, such as
// "dns:///shop:443/shop.Cart/Get": a method that fails does not cut off the others.
//
// Client.
func WithMethodTargets() Option {
	return WithTarget(func(dialTarget, fullMethod string) string { return dialTarget + fullMethod })
}

// WithFloor refuses, with [ErrExpired] and before the policy is asked, calls whose context
// leaves less time than floor: what they would start could not be finished. It panics
// unless floor is more than 0 and at most 100 years.
//
// Client and server.
func WithFloor(floor time.Duration) Option {
	if floor <= 0 || floor > maxWait {
		panic(fmt.Sprintf("tholegrpc: WithFloor: floor is %v: want more than 0, and at most 876000 h", floor))
	}
	return func(c *config) { c.floor = floor }
}

// WithAttemptHeader sends with each attempt but a call's first the number of those before
// it, as metadata under [AttemptKey]. A server reads it by [PreviousAttempts].
//
// Client.
func WithAttemptHeader() Option {
	return func(c *config) { c.sendAttempt = true }
}

// WithWholeStream makes a policy's time limit hold for a stream as a whole: its deadline is
// the stream's, and travels to the server. Without this option a limit covers the time until
// the stream is there, and a stream that is there ends with the caller's context only.
//
// Client, stream.
func WithWholeStream() Option {
	return func(c *config) { c.wholeStream = true }
}

// maxWait is the longest time that is told or accepted: 100 years.
const maxWait = 876000 * time.Hour

func (c *config) isExempt(fullMethod string) bool {
	return slices.ContainsFunc(c.exempt, func(match func(string) bool) bool { return match(fullMethod) })
}

func (c *config) outcomeOf(fullMethod string, st *status.Status) thole.Outcome {
	if c.outcome != nil {
		return c.outcome(fullMethod, st)
	}
	o := DefaultOutcome(st.Code())
	if o == thole.Success && slices.Contains(c.retryCodes, st.Code()) {
		o = thole.Ignored
	}
	return o
}

// describe returns what p says of itself.
func describe(p thole.Policy) (d thole.Description, ok bool) {
	if s, is := p.(interface{ Describe() thole.Description }); is {
		return s.Describe(), true
	}
	return d, false
}

// within reports whether is says yes to p's description or one inside of it.
func within(p thole.Policy, is func(thole.Description) bool) bool {
	d, ok := describe(p)
	return ok && (is(d) || slices.ContainsFunc(d.Inner, func(p thole.Policy) bool { return within(p, is) }))
}

// runsAgain reports whether p is known to run fn more than once.
func runsAgain(d thole.Description) bool { return d.Runs > 1 || d.Runs < 0 }

// sideBySide reports whether a policy is known to start runs beside others.
func sideBySide(d thole.Description) bool { return runsAgain(d) && !d.Blocking && len(d.Inner) == 0 }

// millis rounds d up to whole milliseconds.
func millis(d time.Duration) int64 {
	return int64(math.Ceil(float64(min(max(d, 0), maxWait)) / float64(time.Millisecond)))
}
