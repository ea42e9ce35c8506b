package lazyctx

import (
	"context"
	"fmt"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
	"weak"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A parent's cancellation reaches the whole tree of a plain deadline before cancel returns,
// as in package context.
func TestContext_parentCancelsChildrenAtOnce(t *testing.T) {
	parent, cancel := context.WithCancel(context.Background())
	ctx, stop := plain(parent, time.Hour)
	defer stop()
	child, stopChild := context.WithCancel(context.WithValue(ctx, keyType{}, 1))
	defer stopChild()
	cancel()
	assert.ErrorIs(t, child.Err(), context.Canceled)
	assert.ErrorIs(t, ctx.Err(), context.Canceled)
}

func TestContext_cancelWithCause(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprintf("watched %v", watched), func(t *testing.T) {
			c := new(Context)
			c.InitCancel(context.WithValue(root, keyType{}, "value"))
			if watched {
				_ = c.Done()
			}
			_, hasDeadline := c.Deadline()
			assert.False(t, hasDeadline)
			assert.NoError(t, c.Err())
			c.Cancel(errCause)
			c.Cancel(errLimit)
			assert.Equal(t, context.Canceled, c.Err())
			assert.Equal(t, errCause, context.Cause(c))
			assert.Equal(t, "value", c.Value(keyType{}))
			child, stop := context.WithCancel(c)
			defer stop()
			assert.Equal(t, errCause, context.Cause(child))
			assert.False(t, c.LimitReached())
		})
	}
}

func TestContext_cancelWithCauseAfterTheParent(t *testing.T) {
	parent, cancel := context.WithCancelCause(root)
	c := new(Context)
	c.InitCancel(parent)
	cancel(errLimit)
	c.Cancel(errCause)
	assert.Equal(t, errLimit, context.Cause(c))
}

// A deadline that is called off stays visible, and never strikes: not the context, not its
// children, whether they were there before or came after.
func TestContext_disarm(t *testing.T) {
	for _, watched := range []bool{false, true} {
		t.Run(fmt.Sprintf("watched %v", watched), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				parent, stop := context.WithCancelCause(root)
				defer stop(nil)
				c := new(Context)
				c.InitStoppable(parent, NewLimit(time.Now(), errLimit), time.Second)
				before := context.Context(c)
				if watched {
					child, stopChild := context.WithCancel(c)
					defer stopChild()
					before = child
				}
				want, _ := c.Deadline()
				c.Disarm()
				c.Disarm()
				time.Sleep(2 * time.Second)
				after, stopAfter := context.WithCancel(c)
				defer stopAfter()
				got, ok := c.Deadline()
				assert.True(t, ok)
				assert.Equal(t, want, got)
				for _, ctx := range []context.Context{c, before, after} {
					assert.NoError(t, ctx.Err())
				}
				stop(errCause)
				synctest.Wait()
				for _, ctx := range []context.Context{c, before, after} {
					assert.Equal(t, context.Canceled, ctx.Err())
					assert.Equal(t, errCause, context.Cause(ctx))
				}
				c.Cancel(nil)
			})
		})
	}
}

func TestContext_disarmComesTooLate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := new(Context)
		c.InitStoppable(root, NewLimit(time.Now(), errLimit), time.Second)
		<-c.Done()
		synctest.Wait()
		c.Disarm()
		assert.Equal(t, context.DeadlineExceeded, c.Err())
		assert.True(t, c.LimitReached())
		assert.Equal(t, errLimit, context.Cause(c))
	})
}

func TestContext_limitReached(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent, cancel := context.WithTimeout(root, time.Hour)
		ctx, stop := plain(parent, time.Second)
		defer stop()
		c := ctx.(*Context)
		assert.False(t, c.LimitReached())
		time.Sleep(time.Second)
		assert.True(t, c.LimitReached(), "unwatched")

		ctx, stop = plain(parent, time.Second)
		defer stop()
		_ = ctx.Done()
		cancel()
		time.Sleep(time.Second)
		assert.False(t, ctx.(*Context).LimitReached(), "the parent was first")
	})
}

// Deriving, waiting and AfterFunc start no goroutine: synctest.Wait and a count would see it.
func TestContext_startsNoGoroutine(t *testing.T) {
	for name, mk := range map[string]maker{"plain": plain, "stoppable": stoppable} {
		t.Run(name, func(t *testing.T) {
			parent, stop := context.WithCancel(root)
			defer stop()
			before := runtime.NumGoroutine()
			for range 50 {
				ctx, cancel := mk(parent, time.Hour)
				defer cancel()
				child, stopChild := context.WithCancel(context.WithValue(ctx, keyType{}, 1))
				defer stopChild()
				context.AfterFunc(child, func() {})
			}
			assert.LessOrEqual(t, runtime.NumGoroutine(), before+5)
		})
	}
}

// Cancelled contexts are forgotten by a parent that lives on, and so are children that
// nobody cancelled.
func TestContext_isCollectedUnderALongLivedParent(t *testing.T) {
	parent, stop := context.WithCancel(root)
	defer stop()
	for name, mk := range map[string]maker{"plain": plain, "stoppable": stoppable} {
		for _, watched := range []bool{false, true} {
			t.Run(fmt.Sprintf("%s watched %v", name, watched), func(t *testing.T) {
				var refs []weak.Pointer[Context]
				for range 100 {
					ctx, cancel := mk(parent, time.Hour)
					if watched {
						child, leaked := context.WithCancel(ctx)
						_, _ = child.Done(), leaked
					}
					refs = append(refs, weak.Make(ctx.(*Context)))
					cancel()
				}
				runtime.GC()
				runtime.GC()
				alive := 0
				for _, ref := range refs {
					if ref.Value() != nil {
						alive++
					}
				}
				assert.LessOrEqual(t, alive, 2)
			})
		}
	}
	runtime.KeepAlive(parent)
}

// Everything at once: whoever looks sees one Done channel, an Err that never changes once it
// is there, and Done closed when it is.
func TestContext_concurrentUse(t *testing.T) {
	rounds := 300
	if testing.Short() {
		rounds = 30
	}
	for name, mk := range map[string]maker{"plain": plain, "stoppable": stoppable} {
		t.Run(name, func(t *testing.T) {
			for i := range rounds {
				parent, stop := context.WithCancelCause(root)
				ctx, cancel := mk(parent, time.Duration(i%4)*20*time.Microsecond+time.Microsecond)
				var wg sync.WaitGroup
				channels := make(chan (<-chan struct{}), 8)
				for g := range 4 {
					wg.Go(func() {
						if g == 1 {
							child, stopChild := context.WithCancel(ctx)
							defer stopChild()
							context.AfterFunc(child, func() {})()
						}
						var first error
						for range 20 {
							err := ctx.Err()
							cause := context.Cause(ctx)
							if first != nil {
								assert.Equal(t, first, err)
								assert.Error(t, cause)
							}
							if err != nil {
								first = err
								<-ctx.Done()
							}
							runtime.Gosched()
						}
						channels <- ctx.Done()
					})
				}
				switch i % 3 {
				case 0:
					wg.Go(cancel)
				case 1:
					wg.Go(func() { stop(errCause) })
				case 2:
					if name == "stoppable" {
						wg.Go(ctx.(*Context).Disarm)
					}
				}
				wg.Wait()
				done := ctx.Done()
				cancel()
				<-done
				stop(nil)
				close(channels)
				for ch := range channels {
					require.Equal(t, done, ch)
				}
				require.Error(t, ctx.Err())
			}
		})
	}
}

func TestContext_string(t *testing.T) {
	ctx, cancel := plain(root, time.Hour)
	defer cancel()
	assert.Contains(t, fmt.Sprint(ctx), "context.Background.WithDeadline(the named limit")
	assert.True(t, strings.HasPrefix(fmt.Sprint(context.WithValue(ctx, keyType{}, 1)), "context.Background.WithDeadline("))
	c := new(Context)
	c.InitCancel(&foreign{Context: root})
	assert.Equal(t, "*lazyctx.foreign.WithCancel", c.String())
}

// hooked is a parent that lets a test act while the real context is being made, and counts
// those that listen to it.
type hooked struct {
	foreign
	onDone    func()
	listening int
}

func (h *hooked) Done() <-chan struct{} {
	if act := h.onDone; act != nil {
		h.onDone = nil
		act()
	}
	return h.done
}

func (h *hooked) AfterFunc(func()) func() bool {
	h.listening++
	return func() bool { h.listening--; return true }
}

// Cancel comes while somebody else is in the middle of asking for Done.
func TestContext_cancelWhileItIsMade(t *testing.T) {
	for name, mk := range map[string]maker{"plain": plain, "stoppable": stoppable} {
		t.Run(name, func(t *testing.T) {
			parent := &hooked{foreign: foreign{Context: root, done: make(chan struct{})}}
			ctx, cancel := mk(parent, time.Hour)
			parent.onDone = cancel
			<-ctx.Done()
			assert.Equal(t, context.Canceled, ctx.Err())
			assert.Zero(t, parent.listening)
		})
	}
}

func TestContext_stopsListeningToItsParent(t *testing.T) {
	for name, mk := range map[string]maker{"plain": plain, "stoppable": stoppable} {
		t.Run(name, func(t *testing.T) {
			parent := &hooked{foreign: foreign{Context: root, done: make(chan struct{})}}
			ctx, cancel := mk(parent, time.Hour)
			_ = ctx.Done()
			assert.Equal(t, 1, parent.listening)
			cancel()
			assert.Zero(t, parent.listening)
		})
	}
}

// The timer has fired, but Disarm is faster.
func TestSource_disarmBeatsAFiringTimer(t *testing.T) {
	c := new(Context)
	c.InitStoppable(root, NewLimit(time.Now(), errLimit), time.Hour)
	s := &source{of: c, fire: func() { t.Error("fired") }}
	c.Disarm()
	s.finish(context.DeadlineExceeded, true)
	assert.NoError(t, s.Err())
}

// Once Disarm has returned the deadline ends nothing, also if the context is being made at
// that time, its timer running already.
func TestContext_disarmWhileTheContextIsMade(t *testing.T) {
	for range 2000 {
		c := new(Context)
		c.InitStoppable(root, NewLimit(time.Now(), errLimit), 20*time.Microsecond)
		var wg sync.WaitGroup
		wg.Go(func() { c.Done() })
		runtime.Gosched()
		c.Disarm()
		first := c.Err()
		wg.Wait()
		for until := time.Now().Add(50 * time.Microsecond); first == nil && time.Now().Before(until); {
			require.NoError(t, c.Err())
		}
		c.Cancel(nil)
		require.Error(t, c.Err())
		require.Equal(t, c.real.Load().ctx.Done(), c.Done())
	}
}

// asked is a parent that lets a test act when it is asked for its Err.
type asked struct {
	foreign
	onErr func()
}

func (a *asked) Err() error {
	if act := a.onErr; act != nil {
		a.onErr = nil
		act()
	}
	return a.foreign.Err()
}

// The deadline has passed, and is called off just before the context that is being made would
// say so: what is left to end it is its parent.
func TestContext_disarmedWhileItIsMadeItStillHearsOfItsParent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		parent := &asked{foreign: foreign{Context: root, done: make(chan struct{})}}
		c := new(Context)
		c.InitStoppable(parent, NewLimit(time.Now(), errLimit), time.Second)
		time.Sleep(time.Second)
		parent.onErr = c.Disarm
		done := c.Done()
		assert.NoError(t, c.Err())
		parent.close()
		synctest.Wait()
		select {
		case <-done:
			assert.Equal(t, errCause, c.Err())
		default:
			t.Error("not done")
		}
		c.Cancel(nil)
	})
}
