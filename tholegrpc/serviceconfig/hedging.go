package serviceconfig

import (
	"context"
	"errors"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

// fatalEnds is a hedge that a fatal status ends at once: to the hedge it is an answer, to
// those outside what it was.
type fatalEnds struct {
	hedge    *hedge.Hedge
	nonFatal func(error) bool
	throttle *throttle
}

func (p *fatalEnds) Do(ctx context.Context, fn func(context.Context) error) error {
	if !p.throttle.allows() {
		return fn(ctx)
	}
	err := p.hedge.Do(ctx, func(ctx context.Context) error {
		err := fn(ctx)
		if err == nil || p.nonFatal(err) || ctx.Err() != nil || dropped(err) {
			return err
		}
		return &fatal{err}
	})
	if f, ok := err.(*fatal); ok {
		return f.error
	}
	return err
}

// dropped reports whether err is of an attempt whose result nobody wants: it was cancelled, or
// it succeeded after another had, which it is told in the same way. It is no status of the
// server's.
func dropped(err error) bool { return errors.Is(err, context.Canceled) }

// Describe describes the hedge.
func (p *fatalEnds) Describe() thole.Description { return p.hedge.Describe() }

// String returns "hedge".
func (p *fatalEnds) String() string { return p.hedge.String() }

// fatal marks an error as one to end a hedge with.
type fatal struct{ error }

func (f *fatal) Unwrap() error          { return f.error }
func (f *fatal) Outcome() thole.Outcome { return thole.Success }
