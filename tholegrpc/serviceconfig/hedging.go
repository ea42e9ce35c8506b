package serviceconfig

import (
	"context"

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
		if err == nil || p.nonFatal(err) || ctx.Err() != nil {
			return err
		}
		return &fatal{err}
	})
	if f, ok := err.(*fatal); ok {
		return f.error
	}
	return err
}

// Describe describes the hedge.
func (p *fatalEnds) Describe() thole.Description { return p.hedge.Describe() }

// String returns "hedge".
func (p *fatalEnds) String() string { return p.hedge.String() }

// fatal marks an error as one to end a hedge with.
type fatal struct{ error }

func (f *fatal) Unwrap() error          { return f.error }
func (f *fatal) Outcome() thole.Outcome { return thole.Success }
