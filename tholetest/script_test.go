package tholetest_test

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholetest"
)

var errDown = errors.New("down")

func TestScript_doesItsStepsInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tholetest.NewScript(
			tholetest.Fail(errDown), tholetest.Sleep(time.Second), tholetest.Hang(), tholetest.Panic("boom"),
			tholetest.Fail(errDown).After(time.Minute), tholetest.Do(func(context.Context) error { return thole.ErrRejected }),
			tholetest.Succeed())
		assert.Equal(t, errDown, s.Call(t.Context()))

		start := time.Now()
		assert.NoError(t, s.Call(t.Context()))
		assert.Equal(t, time.Second, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
		defer cancel()
		assert.Equal(t, context.DeadlineExceeded, s.Call(ctx))
		assert.Equal(t, time.Hour+time.Second, time.Since(start))

		assert.PanicsWithValue(t, "boom", func() { _ = s.Call(t.Context()) })
		assert.Equal(t, errDown, s.Call(t.Context()))
		assert.Equal(t, time.Hour+time.Second+time.Minute, time.Since(start))
		assert.Equal(t, thole.ErrRejected, s.Call(t.Context()))
		for range 3 {
			assert.NoError(t, s.Call(t.Context()), "the last step is repeated")
		}
		tholetest.AssertAttempts(t, s, 9)
		assert.Equal(t, 0, s.Running())
		assert.Equal(t, 1, s.MostRunning())

		calls := s.Calls()
		assert.Equal(t, time.Hour, calls[2].Took)
		assert.Equal(t, context.DeadlineExceeded, calls[2].Err)
		assert.Equal(t, start.Add(time.Hour+time.Second), calls[2].Deadline)
		assert.Equal(t, thole.ErrAborted, calls[3].Err)
		assert.True(t, calls[3].Ended)
	})
}

func TestScript_withoutStepsSucceeds(t *testing.T) {
	assert.NoError(t, tholetest.NewScript().Call(t.Context()))
}

func TestScript_goexitLeaves(t *testing.T) {
	s := tholetest.NewScript(tholetest.Goexit())
	returned := false
	var wg sync.WaitGroup
	wg.Go(func() {
		_ = s.Call(t.Context())
		returned = true
	})
	wg.Wait()
	assert.False(t, returned)
	assert.Equal(t, 0, s.Running())
}

func TestScript_obeysItsContextUnlessDeaf(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tholetest.NewScript(tholetest.Sleep(time.Hour), tholetest.Sleep(time.Hour).Deaf())
		for _, want := range []time.Duration{time.Second, time.Hour} {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			start := time.Now()
			err := s.Call(ctx)
			assert.Equal(t, want, time.Since(start))
			assert.Equal(t, want == time.Hour, err == nil)
			cancel()
		}
	})
}

func TestScript_byAttempt(t *testing.T) {
	s := tholetest.NewScript(tholetest.Fail(errDown), tholetest.Succeed()).ByAttempt()
	second := thole.WithAttempt(thole.WithTarget(t.Context(), "db"), thole.Attempt{Number: 1})
	assert.Equal(t, errDown, s.Call(t.Context()))
	assert.Equal(t, errDown, s.Call(t.Context()))
	assert.NoError(t, s.Call(second))
	assert.NoError(t, s.Call(thole.WithAttempt(t.Context(), thole.Attempt{Hedge: 1})))
	assert.Equal(t, 1, s.Calls()[2].Attempt.Number)
	assert.Equal(t, "db", s.Calls()[2].Target)
}

func TestScript_countsCallsSideBySide(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tholetest.NewScript(tholetest.Sleep(time.Second))
		for range 5 {
			go func() { _ = s.Call(t.Context()) }()
		}
		synctest.Wait()
		assert.Equal(t, 5, s.Running())
		assert.Contains(t, s.String(), "5. at 0s, attempt 0: still running\n")
		time.Sleep(time.Minute)
		assert.Equal(t, 0, s.Running())
		assert.Equal(t, 5, s.MostRunning())
	})
}

// failing is a testing.TB that remembers what it was told.
type failing struct {
	testing.TB
	text string
}

func (f *failing) Helper()                           {}
func (f *failing) Errorf(format string, args ...any) { f.text += fmt.Sprintf(format, args...) }

func TestAssertAttempts_listsTheCalls(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := tholetest.NewScript(tholetest.Fail(errDown).After(time.Second), tholetest.Panic(1))
		_ = s.Call(t.Context())
		ctx := thole.WithAttempt(t.Context(), thole.Attempt{Number: 1, Hedge: 2})
		assert.Panics(t, func() { _ = s.Call(ctx) })
		var f failing
		require.False(t, tholetest.AssertAttempts(&f, s, 3))
		assert.Equal(t, "the dependency was called 2 times, want 3:\n"+
			"1. at 0s, attempt 0: down, after 1s\n"+
			"2. at 1s, attempt 1 hedge 2: did not return, after 0s\n", f.text)
		assert.True(t, tholetest.AssertAttempts(&f, s, 2))
	})
}

func TestRecorder_recordsWhatHooksAreTold(t *testing.T) {
	var rec tholetest.Recorder
	var cfg struct {
		OnChange func(from, to int)
		OnRetry  func(context.Context, error)
		Decide   func(string) bool
		OnMany   func(string, ...int)
	}
	cfg.Decide = func(s string) bool { return s == "yes" }
	many := 0
	cfg.OnMany = func(_ string, n ...int) { many += len(n) }
	rec.Hook("OnChange", &cfg.OnChange)
	rec.Hook("OnRetry", &cfg.OnRetry)
	rec.Hook("Decide", &cfg.Decide)
	rec.Hook("OnMany", &cfg.OnMany)

	cfg.OnChange(1, 2)
	cfg.OnRetry(t.Context(), errDown)
	cfg.OnRetry(t.Context(), nil)
	assert.True(t, cfg.Decide("yes"))
	assert.False(t, cfg.Decide("no"))
	cfg.OnMany("x", 1, 2)
	rec.Record("mine", "a", 1)

	assert.Equal(t, "OnChange(1, 2)\nOnRetry(down)\nOnRetry(<nil>)\nDecide(yes)\nDecide(no)\nOnMany(x, [1 2])\nmine(a, 1)\n", rec.String())
	assert.Equal(t, 2, many)
	assert.Equal(t, 2, rec.Count("OnRetry"))
	assert.Equal(t, []any{errDown}, rec.Events()[1].Args)
	rec.Reset()
	assert.Empty(t, rec.Events())
}

func TestRecorder_refusesWhatItCannotHook(t *testing.T) {
	var rec tholetest.Recorder
	var returns func() int
	var number int
	for _, field := range []any{nil, &number, returns, &returns, (*func())(nil)} {
		assert.Panics(t, func() { rec.Hook("x", field) })
	}
}

func TestRecorder_isSafeForConcurrentUse(t *testing.T) {
	var rec tholetest.Recorder
	var hook func(int)
	rec.Hook("hook", &hook)
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for range 100 {
				hook(i)
				_ = rec.Events()
			}
		})
	}
	wg.Wait()
	assert.Equal(t, 800, rec.Count("hook"))
}
