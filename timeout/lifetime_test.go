package timeout_test

import (
	"context"
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/timeout"
)

func TestTimeout_lifetimeOutlivesTheLimit(t *testing.T) {
	for _, watched := range []bool{false, true} {
		for _, result := range []error{nil, errBoom} {
			t.Run(fmt.Sprintf("watched %v, error %v", watched, result), func(t *testing.T) {
				synctest.Test(t, func(t *testing.T) {
					ctx, life := thole.WithLifetime(t.Context())
					var inner, child context.Context
					err := limit(time.Second).Do(ctx, func(ctx context.Context) error {
						_, ok := ctx.Deadline()
						assert.True(t, ok, "the deadline is visible")
						inner, child = ctx, ctx
						if watched {
							c, cancel := context.WithCancel(ctx)
							t.Cleanup(cancel)
							child = c
						}
						return result
					})
					assert.Equal(t, result, err)
					time.Sleep(time.Minute)
					assert.NoError(t, inner.Err())
					assert.NoError(t, child.Err())
					life.End()
					assert.Equal(t, context.Canceled, inner.Err())
					assert.Equal(t, context.Canceled, child.Err())
				})
			})
		}
	}
}

func TestTimeout_lifetimeExpiresWhileFnRuns(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, life := thole.WithLifetime(t.Context())
		defer life.End()
		err := limit(time.Second).Do(ctx, func(ctx context.Context) error {
			child, cancel := context.WithCancel(context.WithValue(ctx, t, "v"))
			defer cancel()
			err := wait(child)
			assert.Equal(t, context.DeadlineExceeded, err)
			assert.EqualError(t, context.Cause(child), "timeout[test]: 1s exceeded")
			assert.Equal(t, context.DeadlineExceeded, ctx.Err())
			assert.EqualError(t, context.Cause(ctx), "timeout[test]: 1s exceeded")
			return err
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
	})
}

func TestTimeout_lifetimeThatEndedReleasesOnReturn(t *testing.T) {
	ctx, life := thole.WithLifetime(t.Context())
	life.End()
	var leaked context.Context
	require.NoError(t, limit(time.Second).Do(ctx, func(ctx context.Context) error {
		leaked = ctx
		return nil
	}))
	assert.Equal(t, context.Canceled, leaked.Err())
}
