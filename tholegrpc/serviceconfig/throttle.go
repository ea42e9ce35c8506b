package serviceconfig

import (
	"context"
	"sync"

	"github.com/thole-go/thole"
)

// throttle is gRPC's retryThrottling: see gRFC A6. A nil one allows all.
type throttle struct {
	max, ratio float64

	mu     sync.Mutex
	tokens float64
}

func newThrottle(max, ratio float64) *throttle {
	return &throttle{max: max, ratio: ratio, tokens: max}
}

// allows reports whether another attempt may be made.
func (t *throttle) allows() bool {
	if t == nil {
		return true
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.tokens > t.max/2
}

// add adds n tokens, which may be negative.
func (t *throttle) add(n float64) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.tokens = min(max(t.tokens+n, 0), t.max)
}

// around returns p with a count of what its attempts and calls come to: one that fails in a
// way that counts takes a token, a call that succeeds adds the ratio.
func (t *throttle) around(p thole.Policy, counts func(error) bool) thole.Policy {
	if t == nil {
		return p
	}
	return &throttled{t, p, counts}
}

type throttled struct {
	throttle *throttle
	inner    thole.Policy
	counts   func(error) bool
}

func (p *throttled) Do(ctx context.Context, fn func(context.Context) error) error {
	err := p.inner.Do(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		if err != nil && !dropped(err) && p.counts(err) {
			p.throttle.add(-1)
		}
		return err
	})
	if err == nil {
		p.throttle.add(p.throttle.ratio)
	}
	return err
}

// Describe tells what is inside.
func (p *throttled) Describe() thole.Description {
	blocking := false
	if d, ok := p.inner.(interface{ Describe() thole.Description }); ok {
		blocking = d.Describe().Blocking
	}
	return thole.Description{Kind: "retryThrottling", Inner: []thole.Policy{p.inner}, Blocking: blocking}
}

// String returns the kind and what is inside.
func (p *throttled) String() string { return p.Describe().String() }
