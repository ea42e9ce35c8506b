package hedge

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// On a machine that has no time for the first attempt's goroutine, the caller's context can end
// before it runs: then it never does, and the error says so.
func TestHedge_aCallGivenUpBeforeItBeganNeverBegins(t *testing.T) {
	h := New(Config{})
	ctx, cancel := context.WithCancel(t.Context())
	c := &call{h: h, set: h.set.Load(), ctx: ctx, wake: make(chan struct{}), fn: func(context.Context) error {
		t.Error("fn ran")
		return nil
	}}
	cancel()
	c.leave()
	err := c.result()
	require.ErrorIs(t, err, thole.ErrRejected)
	require.ErrorIs(t, err, context.Canceled)
	c.startNext()
}
