package retry_test

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/retry"
)

// The smallest configurations are not taken for none.
func TestRetrier_describesTheSmallestNumbers(t *testing.T) {
	d := retry.New(retry.Config{MaxAttempts: 1, MaxElapsed: 1}).Describe()
	require.Contains(t, d.Settings, thole.Setting{Key: "MaxAttempts", Value: "1"})
	require.Contains(t, d.Settings, thole.Setting{Key: "MaxElapsed", Value: "1ns"})
	require.Equal(t, 1, d.Runs)
	require.Zero(t, d.Pauses)

	d = retry.New(retry.Config{MaxAttempts: 3, MaxElapsed: 1}).Describe()
	require.Equal(t, time.Duration(1), d.Pauses)
}

// A cancellation without a cause of its own is named once.
func TestRetrier_aCancellationIsNotNamedTwice(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Second, cancel)
		err := retry.New(retry.Config{Backoff: retry.Constant(time.Hour)}).Do(ctx, newScript(errBoom).run)
		require.ErrorIs(t, err, context.Canceled)
		require.Equal(t, 1, strings.Count(err.Error(), context.Canceled.Error()), err.Error())
	})
}
