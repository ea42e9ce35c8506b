package tholehttp

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/thole-go/thole"
)

// The states of an exchange: whether the one run of its handler has begun.
const (
	runAwaited int32 = iota
	runGoing
	runEnded
	runRefused // the policy has returned without a run; there will be none
)

// exchange is one request on its way through a handler's policy. It is a single
// allocation, and is not reused: a handler may hold on to what it was given.
type exchange struct {
	handler *handler
	outer   *http.Request // as it came
	writer  writer

	state    atomic.Int32
	done     sync.WaitGroup // holds one until the run has ended
	verdict  error          // what the run told the policy
	judged   bool           // the verdict rests on the handler's answer
	returned bool           // the handler returned
	aborted  bool           // the handler panicked with http.ErrAbortHandler

	described uint8 // which headers of the representation were set before the handler ran

	info  thole.CallInfo
	noted thole.CallContext // the request's context and what the policy finds in it
}

var (
	errRanBefore = thole.Permanent(errors.New("tholehttp: the handler of a request runs once"))
	errNoHandler = errors.New("tholehttp: the policy reports success, but the handler did not return")
	errAborted   = ignored{http.ErrAbortHandler}
	errGone      = ignored{fmt.Errorf("tholehttp: the client is gone: %w", context.Canceled)}
)

// policyContext returns the request's context as the policy gets it. A lifetime in it is not of
// this call but of one that the request was made for, by a client in the same process: the policy
// must not leave to it what it holds for the handler.
func (x *exchange) policyContext() context.Context {
	ctx := x.outer.Context()
	target := x.handler.cfg.Target(x.outer)
	if target == "" {
		target = thole.TargetFrom(ctx)
	}
	x.info = thole.CallInfo{Target: target, Once: true}
	x.noted = thole.CallContext{Context: ctx, Info: &x.info}
	return &x.noted
}

// do runs the policy, and returns when it has returned and the handler has, if it began:
// its ResponseWriter must not be used after ServeHTTP.
func (x *exchange) do(ctx context.Context) error {
	x.done.Add(1)
	defer func() {
		if !x.state.CompareAndSwap(runAwaited, runRefused) {
			x.done.Wait()
		}
	}()
	return x.handler.policy.Do(ctx, x.run)
}

// run is what the policy runs.
func (x *exchange) run(ctx context.Context) error {
	if !x.state.CompareAndSwap(runAwaited, runGoing) {
		return x.again()
	}
	defer x.done.Done()
	x.verdict = errRanBefore // if the handler panics
	defer x.state.Store(runEnded)
	x.serve(ctx)
	x.verdict = x.judge(ctx)
	return x.verdict
}

// again is a second run, by a policy that does not obey Once.
func (x *exchange) again() error {
	if x.state.Load() == runEnded {
		return x.verdict
	}
	return errRanBefore
}

// serve runs the handler.
func (x *exchange) serve(ctx context.Context) {
	// Unmarked: the handler may make calls with its request's context, and those must not
	// inherit that the request itself is not to be repeated.
	inner := x.outer.WithContext(thole.Unmarked(ctx))
	defer x.handBack(inner)
	defer func() {
		if x.returned {
			return
		}
		// Raised again inside the deferred call, a panic shows the frames it came from.
		// A nil is a Goexit, which goes on, or, under GODEBUG=panicnil=1, a panic.
		v := recover()
		if v != nil && v != http.ErrAbortHandler {
			panic(v)
		}
		x.aborted = true
	}()
	x.described = described(x.writer.Header())
	x.handler.next.ServeHTTP(x.writer.shape(), inner)
	x.returned = true
}

// handBack shows in the original request what the handler learned about its copy:
// net/http removes the temporary files of the form it finds there, and middleware further
// out reads the pattern.
func (x *exchange) handBack(inner *http.Request) {
	if inner.Pattern != x.outer.Pattern {
		// The path values come along only with the whole.
		*x.outer = *inner.WithContext(x.outer.Context())
		return
	}
	x.outer.Form, x.outer.PostForm, x.outer.MultipartForm = inner.Form, inner.PostForm, inner.MultipartForm
}

// judge turns the handler's answer into what the policy is told.
func (x *exchange) judge(ctx context.Context) error {
	if x.aborted {
		return errAborted
	}
	if x.writer.hijacked {
		return nil
	}
	// A client that went away is why work for it fails.
	gone := x.outer.Context().Err() == context.Canceled
	status := x.writer.status
	if status == 0 {
		if gone {
			x.judged = true
			return errGone
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		status = http.StatusOK
	}
	outcome := x.handler.cfg.Outcome(status)
	if outcome == thole.Success {
		return nil
	}
	x.judged = true
	if gone {
		outcome = thole.Ignored
	}
	v := &statusVerdict{StatusError: StatusError{StatusCode: status}, outcome: outcome}
	if outcome == thole.Ignored {
		return v
	}
	return thole.Permanent(v)
}

// statusVerdict is a StatusError whose outcome the handler's configuration, not the status
// alone, has decided.
type statusVerdict struct {
	StatusError
	outcome thole.Outcome
}

func (v *statusVerdict) Unwrap() error          { return &v.StatusError }
func (v *statusVerdict) Outcome() thole.Outcome { return v.outcome }

// Retryable is false, 429 or not: the answer is on its way.
func (v *statusVerdict) Retryable() bool { return false }

// ignored is an error that says nothing about the handler.
type ignored struct{ error }

func (i ignored) Unwrap() error          { return i.error }
func (i ignored) Outcome() thole.Outcome { return thole.Ignored }

// finish sends the answer that the handler did not give, err being the policy's.
func (x *exchange) finish(err error) {
	switch {
	case x.aborted:
		panic(http.ErrAbortHandler)
	case x.writer.hijacked:
		return
	case x.state.Load() == runRefused:
	case !x.returned:
		// The policy made an error of a panic. What was written is torn, and must not look whole.
		if x.writer.status != 0 {
			panic(http.ErrAbortHandler)
		}
	case x.writer.status != 0 || err == nil || x.judged:
		return
	}
	if err == nil {
		err = errNoHandler
	}
	x.reject(thole.Unmark(err))
}
