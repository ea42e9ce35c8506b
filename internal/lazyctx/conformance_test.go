package lazyctx

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
)

var errLimit = errors.New("the named limit")

// A maker makes a context that expires after d, and its cancel function.
type maker func(parent context.Context, d time.Duration) (context.Context, context.CancelFunc)

func standard(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	return context.WithDeadlineCause(parent, time.Now().Add(d), errLimit)
}

func plain(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := new(Context)
	c.InitDeadline(parent, NewLimit(time.Now(), errLimit), d)
	return c, func() { c.Cancel(nil) }
}

func stoppable(parent context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	c := new(Context)
	c.InitStoppable(parent, NewLimit(time.Now(), errLimit), d)
	return c, func() { c.Cancel(nil) }
}

// A scenario does something with contexts and says what it sees.
type scenario struct {
	name string
	run  func(mk maker, say func(string, ...any))
}

type keyType struct{}

var (
	root     = context.Background()
	intKey   int // a user's own *int key
	errCause = errors.New("the caller's cause")
)

// see says everything that can be seen of a context.
func see(ctx context.Context, say func(string, ...any)) {
	synctest.Wait()
	done := false
	select {
	case <-ctx.Done():
		done = true
	default:
	}
	seeLazily(ctx, say)
	say("done %v", done)
}

// seeLazily does not ask for Done.
func seeLazily(ctx context.Context, say func(string, ...any)) {
	synctest.Wait()
	d, ok := ctx.Deadline()
	say("err %v, cause %v, deadline in %v %v", ctx.Err(), context.Cause(ctx), time.Until(d).Round(time.Millisecond), ok)
}

var scenarios = []scenario{
	{"fresh", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		seeLazily(ctx, say)
		see(ctx, say)
		first, second := ctx.Done(), ctx.Done()
		say("same channel %v", first == second)
	}},
	{"expires, watched", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		start := time.Now()
		<-ctx.Done()
		say("after %v", time.Since(start))
		see(ctx, say)
		cancel()
		see(ctx, say)
	}},
	{"expires, unwatched", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		time.Sleep(time.Second - 1)
		say("%v", ctx.Err())
		time.Sleep(1)
		seeLazily(ctx, say)
		see(ctx, say)
	}},
	{"expires, first asked through a child", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		child := context.WithValue(ctx, keyType{}, 1)
		time.Sleep(2 * time.Second)
		seeLazily(child, say)
	}},
	{"expires before its parent does, unwatched until both have", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithTimeoutCause(root, 2*time.Second, errCause)
		defer stop()
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		time.Sleep(3 * time.Second)
		seeLazily(ctx, say)
		see(ctx, say)
	}},
	{"born expired", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, 0)
		defer cancel()
		see(ctx, say)
	}},
	{"cancelled unwatched, used afterwards", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		cancel()
		cancel()
		seeLazily(ctx, say)
		see(ctx, say)
		child, stop := context.WithCancel(ctx)
		defer stop()
		see(child, say)
		ran := false
		context.AfterFunc(ctx, func() { ran = true })
		time.Sleep(2 * time.Second)
		synctest.Wait()
		say("ran %v", ran)
		seeLazily(ctx, say)
	}},
	{"cancelled watched", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		ch := ctx.Done()
		cancel()
		<-ch
		see(ctx, say)
		time.Sleep(2 * time.Second)
		see(ctx, say)
	}},
	{"cancelled, then the parent", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithCancelCause(root)
		ctx, cancel := mk(parent, time.Second)
		cancel()
		stop(errCause)
		see(ctx, say)
	}},
	{"parent cancelled, unwatched", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithCancelCause(root)
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		stop(errCause)
		seeLazily(ctx, say)
		see(ctx, say)
		time.Sleep(2 * time.Second)
		see(ctx, say)
	}},
	{"parent cancelled, watched", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithCancelCause(root)
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		child, stopChild := context.WithCancel(context.WithValue(ctx, keyType{}, 1))
		defer stopChild()
		see(child, say)
		stop(errCause)
		see(ctx, say)
		see(child, say)
		cancel()
		see(ctx, say)
	}},
	{"parent done before", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithCancelCause(root)
		stop(errCause)
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		see(ctx, say)
	}},
	{"children expire with it", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		a, stopA := context.WithCancelCause(ctx)
		defer stopA(nil)
		b, stopB := context.WithTimeout(context.WithValue(a, keyType{}, 1), time.Hour)
		defer stopB()
		c, stopC := context.WithTimeoutCause(ctx, time.Millisecond, errCause)
		defer stopC()
		for _, child := range []context.Context{a, b, c} {
			see(child, say)
		}
		time.Sleep(time.Millisecond)
		see(c, say)
		see(ctx, say)
		time.Sleep(time.Second)
		for _, child := range []context.Context{a, b, c} {
			see(child, say)
		}
	}},
	{"a cancelled child leaves it alone", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		a, stopA := context.WithCancelCause(ctx)
		stopA(errCause)
		see(a, say)
		see(ctx, say)
		cancel()
		see(a, say)
		see(ctx, say)
	}},
	{"AfterFunc", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(root, time.Second)
		defer cancel()
		var ran [3]bool
		stop0 := context.AfterFunc(ctx, func() { ran[0] = true })
		stop1 := context.AfterFunc(context.WithValue(ctx, keyType{}, 1), func() { ran[1] = true })
		say("stopped %v %v", stop0(), stop0())
		time.Sleep(time.Second)
		synctest.Wait()
		context.AfterFunc(ctx, func() { ran[2] = true })
		synctest.Wait()
		say("ran %v, stopped %v", ran, stop1())
	}},
	{"AfterFunc of a parent and a child, cancelled in order", func(mk maker, say func(string, ...any)) {
		parent, stop := context.WithCancel(root)
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		child, stopChild := context.WithCancel(ctx)
		defer stopChild()
		states := func() string {
			return fmt.Sprint(parent.Err(), ctx.Err(), child.Err())
		}
		context.AfterFunc(child, func() { say("in child's func: %v", states()) })
		stop()
		synctest.Wait()
		say("%v", states())
	}},
	{"WithoutCancel", func(mk maker, say func(string, ...any)) {
		ctx, cancel := mk(context.WithValue(root, keyType{}, "value"), time.Second)
		free := context.WithoutCancel(ctx)
		cancel()
		say("%v %v %v", free.Err(), context.Cause(free), free.Value(keyType{}))
	}},
	{"values", func(mk maker, say func(string, ...any)) {
		parent := context.WithValue(context.WithValue(root, keyType{}, "value"), &intKey, "int")
		ctx, cancel := mk(parent, time.Second)
		look := func(ctx context.Context) { say("%v %v %v", ctx.Value(keyType{}), ctx.Value(&intKey), ctx.Value("no")) }
		look(ctx)
		child, stop := context.WithCancel(ctx)
		defer stop()
		look(ctx)
		look(child)
		cancel()
		look(ctx)
		look(child)
	}},
	{"nested", func(mk maker, say func(string, ...any)) {
		outer, cancelOuter := mk(root, 2*time.Second)
		defer cancelOuter()
		inner, cancelInner := mk(outer, time.Second)
		child, stop := context.WithCancel(inner)
		defer stop()
		time.Sleep(time.Second)
		see(child, say)
		see(outer, say)
		cancelInner()
		second, cancelSecond := mk(outer, time.Second)
		defer cancelSecond()
		_ = second.Done()
		cancelOuter()
		see(second, say)
	}},
	{"a parent of a foreign type", func(mk maker, say func(string, ...any)) {
		parent := &foreign{Context: root, done: make(chan struct{})}
		ctx, cancel := mk(parent, time.Second)
		defer cancel()
		child, stop := context.WithCancel(ctx)
		defer stop()
		see(child, say)
		parent.close()
		see(child, say)
		see(ctx, say)
	}},
	{"a foreign parent, let go", func(mk maker, say func(string, ...any)) {
		parent := &foreign{Context: root, done: make(chan struct{})}
		ctx, cancel := mk(parent, time.Second)
		_ = ctx.Done()
		cancel()
		see(ctx, say)
		parent.close()
		see(ctx, say)
	}},
}

// foreign is a context with a Done channel and an Err of its own.
type foreign struct {
	context.Context
	done chan struct{}
}

func (f *foreign) Done() <-chan struct{} { return f.done }
func (f *foreign) close()                { close(f.done) }
func (f *foreign) Err() error {
	select {
	case <-f.done:
		return errCause
	default:
		return nil
	}
}

// TestConformance runs each scenario with a context of package context and with ours: what
// can be seen must be the same, word for word.
func TestConformance(t *testing.T) {
	trace := func(t *testing.T, sc scenario, mk maker) (said []string) {
		synctest.Test(t, func(*testing.T) {
			sc.run(mk, func(format string, args ...any) {
				said = append(said, fmt.Sprintf(format, args...))
			})
			synctest.Wait()
		})
		return said
	}
	for _, sc := range scenarios {
		t.Run(sc.name, func(t *testing.T) {
			want := trace(t, sc, standard)
			assert.NotEmpty(t, want)
			assert.Equal(t, want, trace(t, sc, plain), "plain")
			assert.Equal(t, want, trace(t, sc, stoppable), "stoppable")
		})
	}
}
