package benchmarks

import (
	"context"
	"errors"
	"runtime"
	"testing"
	"time"

	"github.com/failsafe-go/failsafe-go"
)

var errFailed = errors.New("failed")

// The calls that are guarded: with a context, and without for those that take none. They are
// never inlined, so that all contenders make a call.

//go:noinline
func succeed(context.Context) error { return nil }

//go:noinline
func succeedPlainly() error { return nil }

func fail(context.Context) error { return errFailed }

// doer is the shape in which the tests see a contender.
type doer func(ctx context.Context, fn func(context.Context) error) error

// viaFailsafe runs fn the way failsafe-go passes the caller's context on. The benchmarks of
// single policies spare it that, where fn needs no context of it: its cheapest form.
func viaFailsafe(e failsafe.Executor[any]) doer {
	return func(ctx context.Context, fn func(context.Context) error) error {
		return e.WithContext(ctx).RunWithExecution(func(x failsafe.Execution[any]) error {
			return fn(x.Context())
		})
	}
}

// failsafeSucceed is succeed for failsafe-go.
func failsafeSucceed(x failsafe.Execution[any]) error { return succeed(x.Context()) }

// parallel runs op from a goroutine per processor.
func parallel(b *testing.B, name string, op func()) {
	b.Run(name, func(b *testing.B) {
		b.ReportAllocs()
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				op()
			}
		})
	})
}

// callThrice calls fn until it has succeeded at its third run.
type callThrice struct{ runs int }

func (c *callThrice) run(context.Context) error { return c.runPlainly() }

func (c *callThrice) runPlainly() error {
	c.runs++
	if c.runs%3 != 0 {
		return errFailed
	}
	return nil
}

const (
	never  = time.Hour        // longer than any run
	enough = 10 * time.Second // a time limit that nothing here reaches
)

// yield is a call during which others get the processor, so that they meet a permit in use.
func yield(context.Context) error {
	runtime.Gosched()
	return nil
}
