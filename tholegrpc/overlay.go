package tholegrpc

import (
	"context"

	"github.com/thole-go/thole"
)

// overlay is the context that policies get: the caller's, with the target and, for a call
// that is not to be repeated, Once. A lifetime further out is hidden from them: it is of
// some other result, and not to hold what policies hold for this call.
//
// It does in one small allocation, and in one step for each question, what the functions of
// package thole would do in three: a call through a retry and a breaker is asked often enough
// for that to be a fifth of its time.
type overlay struct {
	context.Context
	n    *notes
	once bool
}

// Value answers for the marks, and asks the caller's context for all else.
func (o *overlay) Value(key any) any {
	switch key {
	case marks.target:
		return o.n.target
	case marks.once:
		if o.once {
			return marks.onceValue
		}
	case marks.lifetime:
		return nil
	}
	return o.Context.Value(key)
}

// marks are the keys by which package thole finds its marks in a context.
var marks = struct{ target, once, onceValue, lifetime any }{
	target:    keyOf(func(ctx context.Context) { thole.TargetFrom(ctx) }),
	once:      onceKey,
	onceValue: thole.Once(context.Background()).Value(onceKey),
	lifetime:  keyOf(func(ctx context.Context) { thole.LifetimeFrom(ctx) }),
}

var onceKey = keyOf(func(ctx context.Context) { thole.Repeatable(ctx) })

// keyOf returns the key, which is package thole's own, that ask asks a context for.
func keyOf(ask func(context.Context)) any {
	s := &keySpy{Context: context.Background()}
	ask(s)
	return s.asked
}

type keySpy struct {
	context.Context
	asked any
}

func (s *keySpy) Value(key any) any {
	s.asked = key
	return nil
}
