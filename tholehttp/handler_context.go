package tholehttp

import (
	"context"

	"github.com/thole-go/thole"
)

// marks are the keys under which package thole notes things about one call in its context.
type marks []any

// findMarks learns the keys, which are thole's own secret, by looking on as thole asks a
// context for them.
func findMarks() marks {
	s := &keySpy{Context: context.Background()}
	thole.Repeatable(s)
	thole.AttemptFrom(s)
	thole.TargetFrom(s)
	thole.LifetimeFrom(s)
	return s.asked
}

type keySpy struct {
	context.Context
	asked marks
}

func (s *keySpy) Value(key any) any {
	s.asked = append(s.asked, key)
	return nil
}

// handlerContext is the policy's context without its marks: a handler may make calls with
// its request's context, and those must not inherit that the request itself can't be
// repeated, which attempt it is, or where its result's lifetime ends. The marks that it
// came with, if any, are seen again.
type handlerContext struct {
	context.Context                 // the policy's
	outer           context.Context // the request's as it came
	marks           marks
}

func (c *handlerContext) Value(key any) any {
	for _, mark := range c.marks {
		if key == mark {
			return c.outer.Value(key)
		}
	}
	return c.Context.Value(key)
}
