package retry

import (
	"context"
	"errors"
	"fmt"
	"math"
	"testing"
	"time"

	"github.com/cenkalti/backoff/v4"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/internal/check"
)

// wrapped sends an error past plain, on the long way.
type wrapped struct{ error }

func (w wrapped) Unwrap() error { return w.error }

// A plain error is judged on a short cut, which must lead to the same end.
func TestJudge_theShortCutAgreesWithTheLongWay(t *testing.T) {
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	expired, stop := context.WithTimeout(t.Context(), -1)
	defer stop()
	for _, ctx := range []context.Context{t.Context(), cancelled, expired, thole.Once(t.Context())} {
		for _, err := range []error{errors.New("x"), thole.ErrRejected, context.Canceled, thole.ErrAborted} {
			require.True(t, plain(err))
			v, told := judge(ctx, err)
			long, longTold := judge(ctx, wrapped{err})
			require.Equal(t, long, v, "%v %v", ctx, err)
			require.Equal(t, longTold, told)
		}
	}
	for _, err := range []error{
		context.DeadlineExceeded, thole.Answer(errors.New("x")), thole.Permanent(errors.New("x")), backoff.Permanent(errors.New("x")),
		thole.Rejection(thole.ReasonFull, "x"), fmt.Errorf("x: %w", context.Canceled), errors.Join(context.Canceled),
	} {
		require.Equal(t, err == context.DeadlineExceeded, plain(err), "%v", err)
	}
}

func TestWait(t *testing.T) {
	const s = time.Second
	rows := []struct {
		scheduled, told, room time.Duration
		least, most           time.Duration
		fits                  bool
	}{
		{scheduled: s, room: unbounded, least: s, most: s, fits: true},
		{scheduled: s, room: s, least: s, most: s, fits: true},
		{scheduled: s, room: s - 1, least: s, most: s},
		{scheduled: 0, room: 0, fits: true},
		{scheduled: 0, room: -1},
		{scheduled: -5, room: s, fits: true},
		{scheduled: math.MaxInt64, room: unbounded, least: math.MaxInt64, most: math.MaxInt64},
		{told: 10 * s, room: unbounded, least: 10 * s, most: 11 * s, fits: true},
		{told: 10 * s, room: 10 * s, least: 10 * s, most: 10 * s, fits: true},
		{told: 10 * s, room: 10*s + 3, least: 10 * s, most: 10*s + 3, fits: true},
		{told: 10 * s, room: 10*s - 1, least: 10 * s, most: 11 * s},
		{scheduled: 20 * s, told: 10 * s, room: 30 * s, least: 20 * s, most: 20 * s, fits: true},
		{told: check.MaxDuration, room: unbounded, least: check.MaxDuration, most: check.MaxDuration, fits: true},
	}
	for _, row := range rows {
		for range 50 {
			d, fits := wait(row.scheduled, row.told, row.room)
			require.Equal(t, row.fits, fits, "%+v", row)
			require.GreaterOrEqual(t, d, row.least, "%+v", row)
			require.LessOrEqual(t, d, row.most, "%+v", row)
		}
	}
}

func TestRoom(t *testing.T) {
	require.Equal(t, unbounded, room(0, time.Hour, 0, false))
	require.Equal(t, time.Second, room(time.Minute, 59*time.Second, 0, false))
	require.Equal(t, -time.Second, room(time.Minute, 61*time.Second, 0, false))
	require.Equal(t, time.Second-1, room(0, 0, time.Second, true), "the run must begin before the deadline")
	require.Equal(t, time.Second-1, room(time.Minute, 0, time.Second, true))
	require.Equal(t, time.Second, room(time.Minute, 59*time.Second, time.Hour, true))
}

// What Describe says of the pauses is what the schedules can come to, and it is known of each
// schedule of this package, wherever that was made.
func TestLadder_longestIsTheSumOfTheLargestDelays(t *testing.T) {
	const s, top = time.Second, 20 * time.Second
	for n, want := range map[int]time.Duration{0: 0, 1: 1, 2: 3, 3: 7, 5: 31, 6: 51, 100: 31 + 95*20} {
		require.Equal(t, want*s, ladderOf(Exponential(s, top)).longest(n))
		require.Equal(t, want*s, ladderOf(FullJitter(s, top)).longest(n))
	}
	for n, want := range map[int]time.Duration{0: 0, 1: 3, 2: 12, 3: 32, 5: 72} {
		require.Equal(t, want*s, ladderOf(DecorrelatedJitter(s, top)).longest(n))
	}
	require.Equal(t, 5*s, ladderOf(Constant(s)).longest(5))
	require.Zero(t, ladderOf(Constant(0)).longest(1e9))
	require.Equal(t, check.MaxDuration, ladderOf(Constant(check.MaxDuration)).longest(maxAttempts))
	require.Equal(t, check.MaxDuration, ladderOf(Exponential(time.Hour, check.MaxDuration)).longest(maxAttempts))
	require.Equal(t, check.MaxDuration, ladderOf(DecorrelatedJitter(check.MaxDuration, check.MaxDuration)).longest(2))

	require.Nil(t, ladderOf(func() backoff.BackOff { return FullJitter(s, top)() }))
	require.Same(t, &defaultLadder, ladderOf(defaultSchedule))
}
