package chains

import (
	"context"
	"time"

	"github.com/thole-go/thole"
)

// watch is a policy that compares the clock which a chain's policies share with the real one,
// each time it may look at it. In a bubble time passes only where somebody waits for it.
type watch struct{ b *builder }

// watchGate is watch as a gate.
type watchGate struct{ w *watch }

func (w *watch) look(clock *thole.Clock, when string) {
	base := time.Now()
	if off := clock.Since(base); off != 0 {
		w.b.rt.Errorf("the shared clock is %v off %s", off, when)
	}
}

func (w *watch) Do(ctx context.Context, fn func(context.Context) error) error {
	return w.DoTimed(ctx, fn, nil)
}

func (w *watch) DoTimed(ctx context.Context, fn func(context.Context) error, clock *thole.Clock) error {
	if err := clock.Err(ctx); err != nil {
		return err
	}
	w.look(clock, "before the run")
	err := fn(ctx)
	clock.Forget()
	w.look(clock, "after the run")
	return err
}

func (w *watch) Describe() thole.Description {
	return thole.Description{Kind: "watch", Blocking: true}
}

func (g watchGate) Do(ctx context.Context, fn func(context.Context) error) error {
	return thole.Pass(ctx, g, fn)
}

func (g watchGate) Enter(_ context.Context, clock *thole.Clock) (thole.Ticket, error) {
	g.w.look(clock, "on entry")
	return thole.Ticket{}, nil
}

func (g watchGate) Leave(_ context.Context, _ thole.Ticket, _ error, clock *thole.Clock) {
	g.w.look(clock, "on leaving")
}

func (g watchGate) Describe() thole.Description {
	return thole.Description{Kind: "watch gate", Blocking: true}
}
