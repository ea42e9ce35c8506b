package bulkhead_test

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/bulkhead"
)

// call is an Acquire that runs in a goroutine of its own.
type call struct {
	cancel  context.CancelCauseFunc
	release func()
	err     error
	ended   atomic.Bool // release and err may be read
	took    time.Duration
}

// start begins to acquire n permits, and returns when that has come to rest: at the end, or
// in the queue. It must run in a synctest bubble.
func start(ctx context.Context, b *bulkhead.Bulkhead, n int) *call {
	ctx, cancel := context.WithCancelCause(ctx)
	c := &call{cancel: cancel}
	began := time.Now()
	go func() {
		c.release, c.err = b.AcquireN(ctx, n)
		c.took = time.Since(began)
		c.ended.Store(true)
	}()
	synctest.Wait()
	return c
}

func (c *call) requireWaiting(t *testing.T) {
	t.Helper()
	synctest.Wait()
	if c.ended.Load() {
		require.Fail(t, "the call should wait", "it ended with error %v", c.err)
	}
}

func (c *call) requireAdmitted(t *testing.T) {
	t.Helper()
	synctest.Wait()
	require.True(t, c.ended.Load(), "the call should be in; it waits")
	require.NoError(t, c.err)
}

func (c *call) requireError(t *testing.T, target error) {
	t.Helper()
	synctest.Wait()
	require.True(t, c.ended.Load(), "the call should have ended; it waits")
	require.ErrorIs(t, c.err, target)
}

// requireWhole asserts that nothing is in use, nobody waits, and all permits can be had.
func requireWhole(t *testing.T, b *bulkhead.Bulkhead) {
	t.Helper()
	s := b.Stats()
	require.Zero(t, s.InUse, "permits in use")
	require.Zero(t, s.Waiting, "callers waiting")
	require.False(t, b.InUse())
	release, err := b.AcquireN(context.Background(), s.Limit)
	require.NoError(t, err, "all permits at once")
	_, ok := b.TryAcquire()
	require.False(t, ok, "one permit more than there are")
	release()
	require.False(t, b.InUse())
}

// hold takes a permit that must be free.
func hold(t *testing.T, b *bulkhead.Bulkhead) (release func()) {
	t.Helper()
	release, ok := b.TryAcquire()
	require.True(t, ok, "a permit should be free")
	return release
}

var errBoom = errors.New("boom")

func mustNotRun(t *testing.T) func(context.Context) error {
	return func(context.Context) error {
		t.Error("fn ran")
		return nil
	}
}
