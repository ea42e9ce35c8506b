package chains

import (
	"context"
	"sync"
	"time"

	"pgregory.net/rapid"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/timeout"
)

const (
	ms       = time.Millisecond
	maxCalls = 8
)

// builder draws policies and remembers how to tell whether they are whole.
type builder struct {
	rt        *rapid.T
	durations int  // drawn so far
	hedged    bool // a run may overlap another, and outlive its call
	chaos     []*chaos.Chaos
	whole     []func() string // says what is missing, if anything is
}

func (b *builder) int(least, most int, label string) int {
	return rapid.IntRange(least, most).Draw(b.rt, label)
}

// millis draws a duration that is not 0 unless least is, and never quite a number of
// milliseconds: where two things happen in the very same nanosecond, a context that ends and a
// permit that comes free, more than one result is right. Squares, for sums may meet as well.
func (b *builder) millis(least, most int, label string) time.Duration {
	n := b.int(least, most, label)
	if n <= 0 {
		return time.Duration(n)
	}
	b.durations++
	return time.Duration(n)*ms + time.Duration(b.durations*b.durations*7919%100_003)
}

func (b *builder) check(f func() string) { b.whole = append(b.whole, f) }

// maxWait draws one: none, unbounded or bounded.
func (b *builder) maxWait() time.Duration { return b.millis(-1, 20, "MaxWait") }

// chain draws a chain of up to six policies.
func (b *builder) chain(depth int) thole.Policy {
	var layers []thole.Policy
	for range b.int(0, 6, "layers") {
		layers = append(layers, b.policy(depth))
	}
	return thole.Chain(layers...)
}

func (b *builder) policy(depth int) thole.Policy {
	kinds := 15
	if depth > 0 {
		kinds = 10 // nothing nested further
	}
	switch b.int(0, kinds, "kind") {
	case 0:
		return timeout.New(timeout.Config{Limit: b.millis(1, 60, "Limit")})
	case 1:
		return b.retry()
	case 2:
		return b.breaker()
	case 3:
		return b.bulkhead()
	case 4:
		return b.bucket()
	case 5:
		return b.window()
	case 6:
		return b.hedge()
	case 7:
		return stranger{}
	case 8:
		return &watch{b}
	case 9:
		return watchGate{&watch{b}}
	case 10:
		return b.faults()
	case 11:
		return b.chain(depth + 1)
	case 12:
		inner := []thole.Policy{b.policy(depth + 1), b.chain(depth + 1), nil}
		// As many keys as calls: afterwards all must make room for others.
		return thole.Keyed(func(ctx context.Context) int { return callOf(ctx).id },
			func(k int) thole.Policy { return inner[k%3] }, thole.KeyedConfig{MaxKeys: maxCalls, IdleFor: time.Minute})
	case 13:
		return wrapped{b.policy(depth + 1)}
	case 14:
		return bound(b.chain(depth + 1))
	default:
		inner := b.policy(depth + 1)
		return thole.PolicyFunc(inner.Do) // of which a chain knows nothing
	}
}

// wrapped embeds a policy, and so looks like one that says nothing of itself.
type wrapped struct{ thole.Policy }

// bound returns p, used as an edge does that has frames of its own: with what Bind returns, if p
// is a chain that promises that runs end with the call.
func bound(p thole.Policy) thole.Policy {
	b, ok := p.(interface {
		Bind(func(context.Context) error) func(context.Context) error
	})
	if d, _ := p.(interface{ Describe() thole.Description }); !ok || !d.Describe().Blocking {
		return p
	}
	type frame struct {
		fn func(context.Context) error
		do func(context.Context) error
	}
	frames := sync.Pool{New: func() any {
		f := new(frame)
		f.do = b.Bind(func(ctx context.Context) error { return f.fn(ctx) })
		return f
	}}
	return thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		f := frames.Get().(*frame)
		f.fn = fn
		err := f.do(ctx)
		f.fn = nil
		frames.Put(f)
		return err
	})
}

// stranger is a policy of somebody else's, which says nothing of itself.
type stranger struct{}

func (stranger) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	return fn(ctx)
}

func (b *builder) retry() thole.Policy {
	cfg := retry.Config{
		MaxAttempts: b.int(1, 4, "MaxAttempts"),
		MaxElapsed:  b.millis(0, 100, "MaxElapsed"),
		Backoff:     retry.FullJitter(b.millis(1, 10, "base"), 40*ms),
	}
	switch b.int(0, 2, "schedule") {
	case 1:
		cfg.Backoff = retry.Constant(b.millis(0, 20, "delay"))
	case 2:
		cfg.Backoff = retry.Exponential(ms, 30*ms)
	}
	var r *retry.Retrier
	cfg.OnRetry = func(context.Context, thole.Attempt, error, time.Duration) { r.Stats() }
	r = retry.New(cfg)
	b.check(func() string {
		if r.Stats().Waiting != 0 {
			return "a retry is waiting"
		}
		return ""
	})
	return r
}

func (b *builder) breaker() thole.Policy {
	cfg := breaker.Config{
		ConsecutiveFailures: b.int(0, 4, "ConsecutiveFailures"),
		MinCalls:            b.int(1, 4, "MinCalls"),
		SlowCall:            b.millis(0, 30, "SlowCall"),
		OpenFor:             b.millis(1, 80, "OpenFor"),
		MaxOpenFor:          time.Second,
		Probes:              b.int(1, 3, "Probes"),
		ProbeTimeout:        b.millis(1, 50, "ProbeTimeout"),
		RampUp:              b.millis(0, 1, "RampUp"),
	}
	var p *breaker.Breaker
	last := breaker.Closed
	cfg.OnStateChange = func(from, to breaker.State) {
		if from != last || from == to {
			b.rt.Errorf("told of a change from %v to %v in state %v", from, to, last)
		}
		last = to
		p.State()
		p.Stats()
	}
	p = breaker.New(cfg)
	b.check(func() string {
		if s := p.Stats(); s.State == breaker.Open || s.ProbesOut != 0 || p.InUse() {
			return "a breaker is not at rest"
		}
		return ""
	})
	return p
}

func (b *builder) bulkhead() thole.Policy {
	p := bulkhead.New(bulkhead.Config{
		Limit:      b.int(1, 3, "Limit"),
		MaxWaiting: b.int(-1, 3, "MaxWaiting"),
		MaxWait:    b.millis(0, 20, "MaxWait"),
	})
	b.check(func() string {
		if s := p.Stats(); s.InUse != 0 || s.Waiting != 0 {
			return "permits are missing"
		}
		return ""
	})
	return p
}

func (b *builder) bucket() thole.Policy {
	cfg := ratelimit.TokenBucketConfig{
		Rate:    ratelimit.Per(b.int(1, 1000, "Count"), time.Second),
		Burst:   b.int(1, 6, "Burst"),
		MaxWait: b.maxWait(),
	}
	p := ratelimit.NewTokenBucket(cfg)
	b.check(func() string {
		if s := p.Stats(); s.Available != cfg.Burst || s.Waiting != 0 || s.Promised != 0 || p.InUse() {
			return "tokens are missing"
		}
		return ""
	})
	return p
}

func (b *builder) window() thole.Policy {
	cfg := ratelimit.SlidingWindowConfig{
		Limit:   b.int(1, 6, "Limit"),
		Window:  b.millis(1, 50, "Window"),
		Exact:   b.int(0, 1, "Exact") == 1,
		MaxWait: b.maxWait(),
	}
	p := ratelimit.NewSlidingWindow(cfg)
	b.check(func() string {
		if s := p.Stats(); s.Available != cfg.Limit || s.Waiting != 0 {
			return "a window's tokens are missing"
		}
		return ""
	})
	return p
}

func (b *builder) hedge() thole.Policy {
	b.hedged = true
	return hedge.New(hedge.Config{Delay: b.millis(1, 20, "Delay"), MaxHedges: b.int(1, 3, "MaxHedges")})
}

// faults delays and rejects some calls. Injected errors and panics would be those of a function
// that did not run, and mislead the checks.
func (b *builder) faults() thole.Policy {
	p := chaos.New(chaos.Config{Seed: 1, Faults: chaos.Faults{
		RejectRatio: float64(b.int(0, 5, "reject")) / 10,
		DelayRatio:  0.5,
		Delay:       b.millis(1, 10, "Delay"),
	}})
	p.Enable(0)
	b.chaos = append(b.chaos, p)
	return p
}
