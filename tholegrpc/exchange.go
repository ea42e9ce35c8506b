package tholegrpc

import (
	"context"
	"errors"
	"reflect"
	"sync"
	"sync/atomic"

	"google.golang.org/grpc/codes"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"

	"github.com/thole-go/thole"
)

// The states of an exchange: whether the one run of its handler has begun.
const (
	runAwaited int32 = iota
	runGoing
	runEnded
	runRefused // the policy has returned without a run; there will be none
)

// exchange is one call on its way through a server's policy.
type exchange struct {
	server  *server
	notes   *notes
	outer   context.Context // as the call came with it
	serve   func(context.Context) error
	trailer func(metadata.MD)

	state    atomic.Int32
	done     sync.WaitGroup // holds one until the run has ended
	err      error          // the handler's
	verdict  error          // what of it the policy was told
	returned bool           // the handler returned
}

// do runs the handler inside the policy, and returns the call's error. It returns when both
// have: a stream must not be used after that.
func (x *exchange) do() error {
	if x.server.expired(x.outer) {
		return x.reject(ErrExpired)
	}
	x.done.Add(1)
	err := x.policy()
	switch {
	case x.state.Load() == runRefused && err == nil:
		return status.Error(codes.Internal, errNotRun.Error())
	case x.state.Load() == runRefused:
		return x.reject(err)
	case !x.returned && err == nil:
		return status.Error(codes.Internal, errPanic.Error())
	}
	return x.result(err)
}

// policy runs the policy.
func (x *exchange) policy() error {
	defer func() {
		if !x.state.CompareAndSwap(runAwaited, runRefused) {
			x.done.Wait()
		}
	}()
	ctx := x.notes.context(x.outer, true)
	return x.server.policy.Do(&ctx, x.run)
}

// run is what the policy runs. It runs the handler once, whatever the policy is.
func (x *exchange) run(ctx context.Context) error {
	if !x.state.CompareAndSwap(runAwaited, runGoing) {
		if x.state.Load() == runEnded && x.verdict != nil {
			return x.verdict
		}
		return errAgain
	}
	defer x.done.Done()
	defer x.state.Store(runEnded)
	// The handler's own calls are calls of their own: they may be repeated, and the target
	// of this one is not theirs.
	x.err = x.serve(thole.Unmarked(ctx))
	x.returned = true
	if x.err != nil {
		x.verdict = x.judge(ctx)
	}
	return x.verdict
}

// judge returns what the policy is told of the handler's error.
func (x *exchange) judge(ctx context.Context) error {
	st := toStatus(x.err)
	if x.outer.Err() == context.Canceled {
		// A client that went away is why work for it fails.
		return thole.Permanent(&verdict{err: x.err, outcome: thole.Ignored})
	}
	if ctxErr := contextError(ctx, st.Code()); ctxErr != nil {
		return &ended{err: x.err, ctxErr: ctxErr}
	}
	v := &verdict{err: x.err, outcome: x.server.outcomeOf(x.notes.method, st)}
	if v.outcome == thole.Success {
		return v
	}
	return thole.Permanent(v)
}

// result returns the call's error, err being the policy's: the handler's own, unless the
// policy has more to say.
func (x *exchange) result(err error) error {
	if x.returned && (err == nil || x.unchanged(err)) {
		return x.err
	}
	return outward(x.outer, err)
}

// unchanged reports whether err is the handler's error, marks aside. That error may be of a
// type whose values can't be compared, such as a slice.
func (x *exchange) unchanged(err error) bool {
	for {
		if err == x.verdict {
			return true
		}
		m, ok := err.(interface{ Unmark() error })
		if !ok {
			return reflect.ValueOf(x.err).Comparable() && err == x.err
		}
		err = m.Unmark()
	}
}

// reject answers in the handler's place. Who is refused hears when to come again; an error
// that is no refusal, such as a status of the policy's own making, is the answer as it is.
func (x *exchange) reject(err error) error {
	if errors.Is(err, thole.ErrRejected) {
		x.trailer(pushback(err))
	}
	return outward(x.outer, err)
}
