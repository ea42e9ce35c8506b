package chains

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"sync"
	"time"

	"github.com/thole-go/thole"
)

// deed is what one run of fn does.
type deed int

const (
	succeed deed = iota
	fail
	answer
	permanent
	askToWait // fail, with RetryAfter
	hang      // until the context ends, and return its error
	panics
	goexit
	ignoreAndSucceed // take its time whatever the context says
	ignoreAndFail
	deeds
)

func (d deed) String() string {
	return [...]string{"succeed", "fail", "answer", "permanent", "ask to wait", "hang", "panic", "goexit",
		"ignore ctx and succeed", "ignore ctx and fail"}[d]
}

// part is a line of a call's script.
type part struct {
	deed deed
	time time.Duration
}

// runError is the error of one run.
type runError struct {
	call, run int
	wait      time.Duration
}

func (e *runError) Error() string             { return fmt.Sprintf("run %d of call %d", e.run, e.call) }
func (e *runError) RetryAfter() time.Duration { return e.wait }

// call is a call through the chain and all that became of it.
type call struct {
	id     int
	script []part // of the runs in order; then the last again and again

	ctx   context.Context
	base  time.Time
	mu    sync.Mutex
	runs  []*run
	begun int // at the same time
	most  int

	entered, left time.Duration
	doneOnEntry   bool
	value         int
	err           error
	returned      bool
	panicked      any
	open          int // runs under way when Do ended
}

type run struct {
	part
	start, end time.Duration
	ended      bool
	err        error
	ctxLost    bool // the context did not carry the call's value
	late       bool // began after Do had ended
}

type callKey struct{}

// callOf returns the call that ctx belongs to.
func callOf(ctx context.Context) *call {
	c, _ := ctx.Value(callKey{}).(*call)
	return c
}

func (c *call) now() time.Duration { return time.Since(c.base) }

// make runs the call through p, and notes how that ends.
func (c *call) make(p thole.Policy, withLifetime bool, bodyFor time.Duration) {
	ctx := context.WithValue(c.ctx, callKey{}, c)
	if withLifetime {
		var life *thole.Lifetime
		ctx, life = thole.WithLifetime(ctx)
		defer life.End()
		defer func() {
			if c.returned {
				time.Sleep(bodyFor) // somebody reads the result
			}
		}()
	}
	c.entered, c.doneOnEntry = c.now(), ctx.Err() != nil
	defer func() {
		panicked := recover()
		c.mu.Lock()
		defer c.mu.Unlock()
		c.panicked = panicked
		c.left, c.open = c.now(), c.begun
		for _, r := range c.runs {
			r.late = !r.ended && r.late
		}
	}()
	c.value, c.err = thole.Do(ctx, p, c.fn)
	c.mu.Lock() // a hedge's attempt may just begin
	c.returned = true
	c.mu.Unlock()
}

// fn is what the call runs.
func (c *call) fn(ctx context.Context) (int, error) {
	c.mu.Lock()
	n := len(c.runs)
	r := &run{part: c.script[min(n, len(c.script)-1)], start: c.now(), ctxLost: callOf(ctx) != c}
	r.late = c.returned || c.panicked != nil
	c.runs = append(c.runs, r)
	c.begun++
	c.most = max(c.most, c.begun)
	c.mu.Unlock()
	err := errAborted
	defer func() {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.begun--
		r.ended, r.end, r.err = true, c.now(), err
	}()
	err = c.do(ctx, n, r.part)
	return n + 1, err
}

var errAborted = errors.New("did not return")

// do does what the script says.
func (c *call) do(ctx context.Context, n int, p part) error {
	failure := &runError{call: c.id, run: n}
	switch p.deed {
	case hang:
		<-ctx.Done()
		return fmt.Errorf("%w: %w", failure, ctx.Err())
	case ignoreAndSucceed, ignoreAndFail:
		time.Sleep(p.time)
		if p.deed == ignoreAndSucceed {
			return nil
		}
		return failure
	}
	select {
	case <-time.After(p.time):
	case <-ctx.Done():
		return fmt.Errorf("%w: %w", failure, ctx.Err())
	}
	switch p.deed {
	case answer:
		return thole.Answer(failure)
	case permanent:
		return thole.Permanent(failure)
	case askToWait:
		failure.wait = 5 * ms
		return failure
	case panics:
		panic(failure)
	case goexit:
		runtime.Goexit()
	case succeed:
		return nil
	}
	return failure
}
