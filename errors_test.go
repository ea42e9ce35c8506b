package thole_test

import (
	"context"
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

type after time.Duration

func (after) Error() string               { return "later" }
func (a after) RetryAfter() time.Duration { return time.Duration(a) }
func (after) Retryable() bool             { return true }
func (after) Outcome() thole.Outcome      { return thole.Ignored }

func TestRetryAfter_asksTheTree(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		err  error
		want time.Duration
		ok   bool
	}{
		{nil, 0, false},
		{boom, 0, false},
		{fmt.Errorf("x: %w", boom), 0, false},
		{after(time.Second), time.Second, true},
		{after(-time.Second), 0, true},
		{fmt.Errorf("x: %w", after(time.Second)), time.Second, true},
		{errors.Join(boom, after(time.Second), after(time.Minute)), time.Second, true},
	} {
		d, ok := thole.RetryAfter(c.err)
		assert.Equal(t, c.want, d, c.err)
		assert.Equal(t, c.ok, ok, c.err)
		assert.Equal(t, c.ok, thole.Retryable(c.err), c.err)
	}
}

func TestRejection_matchesItselfAndErrRejected(t *testing.T) {
	one, two := thole.Rejection(thole.ReasonFull, "one"), thole.Rejection(thole.ReasonFull, "one")
	require.ErrorIs(t, one, one)
	require.NotErrorIs(t, one, two)
	require.ErrorIs(t, fmt.Errorf("x: %w", one), thole.ErrRejected)
	require.NotErrorIs(t, thole.ErrRejected, one)
	r, ok := thole.ReasonOf(fmt.Errorf("x: %w", one))
	assert.True(t, ok)
	assert.Equal(t, thole.ReasonFull, r)
	_, ok = thole.ReasonOf(errors.New("boom"))
	assert.False(t, ok)
}

func TestOutcomeOf(t *testing.T) {
	boom := errors.New("boom")
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	caused, cancelCaused := context.WithCancelCause(t.Context())
	cancelCaused(boom)
	late, stop := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer stop()
	for _, c := range []struct {
		name string
		ctx  context.Context
		err  error
		want thole.Outcome
	}{
		{"nil", t.Context(), nil, thole.Success},
		{"nil though cancelled", cancelled, nil, thole.Success},
		{"answer", t.Context(), thole.Answer(boom), thole.Success},
		{"wrapped answer", t.Context(), fmt.Errorf("x: %w", thole.Answer(boom)), thole.Success},
		{"failure", t.Context(), boom, thole.Failure},
		{"permanent", t.Context(), thole.Permanent(boom), thole.Failure},
		{"aborted", t.Context(), thole.ErrAborted, thole.Failure},
		{"rejection", t.Context(), fmt.Errorf("x: %w", thole.ErrRejected), thole.Ignored},
		{"caller's cancel", cancelled, fmt.Errorf("x: %w", context.Canceled), thole.Ignored},
		{"the cause of the caller's cancel", caused, fmt.Errorf("x: %w", boom), thole.Ignored},
		{"somebody else's cancel", t.Context(), context.Canceled, thole.Failure},
		{"cancel reported after a deadline", late, context.Canceled, thole.Failure},
		{"caller's deadline", late, context.DeadlineExceeded, thole.Failure},
		{"failure while cancelled", cancelled, boom, thole.Failure},
		{"an error that says so itself", t.Context(), fmt.Errorf("x: %w", after(0)), thole.Ignored},
	} {
		assert.Equal(t, c.want, thole.OutcomeOf(c.ctx, c.err), c.name)
	}
}

func TestMarks_areSeenThroughAndTakenOff(t *testing.T) {
	boom := errors.New("boom")
	require.NoError(t, thole.Answer(nil))
	require.NoError(t, thole.Permanent(nil))
	for _, mark := range []func(error) error{thole.Answer, thole.Permanent} {
		err := mark(boom)
		require.ErrorIs(t, err, boom)
		require.EqualError(t, err, "boom")
		require.Equal(t, boom, thole.Unmark(mark(err)))
	}
	assert.True(t, thole.IsPermanent(fmt.Errorf("x: %w", thole.Permanent(boom))))
	assert.False(t, thole.IsPermanent(boom))
	assert.Nil(t, thole.Unmark(nil))
}

func TestContext_saysWhatItWasTold(t *testing.T) {
	ctx := context.WithValue(t.Context(), after(0), "value")
	assert.True(t, thole.Repeatable(ctx))
	assert.Equal(t, thole.Attempt{}, thole.AttemptFrom(ctx))
	assert.Empty(t, thole.TargetFrom(ctx))

	ctx = thole.Once(thole.WithTarget(thole.WithAttempt(ctx, thole.Attempt{Number: 2, Hedge: 1}), "host:1"))
	ctx, cancel := context.WithCancel(ctx)
	assert.False(t, thole.Repeatable(ctx))
	assert.Equal(t, thole.Attempt{Number: 2, Hedge: 1}, thole.AttemptFrom(ctx))
	assert.Equal(t, "host:1", thole.TargetFrom(ctx))
	assert.Equal(t, "value", ctx.Value(after(0)))
	cancel()
	require.Equal(t, context.Canceled, ctx.Err())

	within, lifetime := thole.WithLifetime(ctx)
	defer lifetime.End()
	call := &thole.CallContext{Context: within, Info: &thole.CallInfo{Target: "other:2"}}
	assert.Equal(t, "other:2", thole.TargetFrom(call))
	assert.False(t, thole.Repeatable(call), "as the caller said")
	assert.Nil(t, thole.LifetimeFrom(call))
	assert.Equal(t, thole.Attempt{Number: 2, Hedge: 1}, thole.AttemptFrom(call))
	assert.Equal(t, "value", call.Value(after(0)))
	assert.True(t, thole.Repeatable(&thole.CallContext{Context: t.Context(), Info: &thole.CallInfo{}}))
	assert.False(t, thole.Repeatable(&thole.CallContext{Context: t.Context(), Info: &thole.CallInfo{Once: true}}))

	bare := thole.Unmarked(ctx)
	assert.True(t, thole.Repeatable(bare))
	assert.Equal(t, thole.Attempt{}, thole.AttemptFrom(bare))
	assert.Empty(t, thole.TargetFrom(bare))
	assert.Equal(t, "value", bare.Value(after(0)))
	require.Equal(t, context.Canceled, bare.Err())
}

func TestOutcome_prints(t *testing.T) {
	assert.Equal(t, "success failure ignored unknown", fmt.Sprint(thole.Success, thole.Failure, thole.Ignored, thole.Outcome(9)))
}
