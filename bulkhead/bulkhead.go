package bulkhead

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
)

// Bulkhead bounds how many calls are inside at once. It is safe for concurrent use. Make one
// with [New]; it must not be copied.
//
// It implements [thole.Policy] and [thole.Gate].
type Bulkhead struct {
	settings atomic.Pointer[settings]
	base     time.Time // times are since then
	giveBack func()    // releases one permit; made once, for lifetimes

	// Each call that is let in writes state, and each that waits writes what follows it. They
	// lie in cache lines of their own, so that refusing a call shares none that is written.
	_     [64]byte
	state state
	_     [56]byte

	mu       sync.Mutex // guards what follows, and the bit in state that says that callers wait
	queue    queue
	queued   int
	verdicts []pending              // what tell has to say
	timer    *time.Timer            // runs expire no later than the first waiter's time is over
	spare    atomic.Pointer[waiter] // for the next to wait
	full     atomic.Bool            // the queue has no place, or there is none; to be read without the lock

	waitedTooLong, cancelled, tooHeavy, shadowed, twice atomic.Int64
}

var _ thole.Gate = (*Bulkhead)(nil)

// New makes a Bulkhead. It panics if cfg is invalid; see [Config.Validate].
func New(cfg Config) *Bulkhead {
	if err := cfg.Validate(); err != nil {
		panic(err.Error())
	}
	b := &Bulkhead{base: time.Now()}
	b.giveBack = func() { b.release(1) }
	b.settings.Store(newSettings(cfg))
	b.state.resize(int64(cfg.Limit))
	b.noteLength()
	return b
}

// Do runs fn while it holds a permit, and returns fn's error. If it gets none it does not
// run fn and returns an [*Error]; if ctx is done already, ctx.Err().
//
// If fn panics or ends its goroutine, the permit is given back. If ctx carries a
// [thole.Lifetime], the permit is held until that ends.
func (b *Bulkhead) Do(ctx context.Context, fn func(context.Context) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	if !b.state.enter(1) {
		held, err := b.refuseOrWait(ctx, 1)
		if err != nil {
			return err
		}
		return b.run(ctx, held, fn)
	}
	// As run does with settle, spelled out: of 19 ns that saves two.
	returned := false
	defer func() {
		if l := thole.LifetimeFrom(ctx); l != nil && returned && l.Adopt(b.giveBack) {
			return
		}
		if b.state.leave(1).hasWaiters() {
			b.handOn()
		}
	}()
	err := fn(ctx)
	returned = true
	return err
}

// run runs fn while it holds permits.
func (b *Bulkhead) run(ctx context.Context, held int64, fn func(context.Context) error) error {
	returned := false
	defer func() { b.settle(ctx, held, returned) }()
	err := fn(ctx)
	returned = true
	return err
}

// Enter is the first half of [Bulkhead.Do], for [thole.Chain].
func (b *Bulkhead) Enter(ctx context.Context, clock *thole.Clock) (thole.Ticket, error) {
	if b.state.enter(1) {
		return thole.Ticket{Stamp: 1}, nil
	}
	held, err := b.refuseOrWait(ctx, 1)
	clock.Forget()
	return thole.Ticket{Stamp: uint64(held)}, err
}

// Leave is the second half of [Bulkhead.Do], for [thole.Chain].
func (b *Bulkhead) Leave(ctx context.Context, t thole.Ticket, err error, _ *thole.Clock) {
	b.settle(ctx, int64(t.Stamp), err != thole.ErrAborted)
}

// settle gives the permits of a call back, which are one, or none if it was shadowed; or
// leaves that to the call's lifetime.
func (b *Bulkhead) settle(ctx context.Context, held int64, returned bool) {
	if held == 0 {
		return
	}
	if l := thole.LifetimeFrom(ctx); l != nil && returned && l.Adopt(b.giveBack) {
		return
	}
	if b.state.leave(held).hasWaiters() {
		b.handOn()
	}
}
