package tholehttp_test

//lint:file-ignore SA1019 http.Client sets Request.Cancel still, for its Timeout

import (
	"context"
	"net/http"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestTransport_rule40_retryThatKnowsNoLifetimesHoldsOneAttemptAtATime(t *testing.T) {
	scope := &scoped{}
	n := int64(0)
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		require.Equal(t, n, scope.ended.Load(), "contexts of the attempts before have ended")
		n++
		return reply(r, 503, newTracked("x")), nil
	})
	resp, err := transport(base, thole.Chain(stubborn(3), scope)).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	readAll(t, resp)
}

func TestTransport_attemptFindsTheConnectionsOfFailedRivalsFree(t *testing.T) {
	var made bodies
	p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		first, one := thole.WithLifetime(ctx)
		second, other := thole.WithLifetime(ctx)
		thole.LifetimeFrom(ctx).Adopt(one.End)
		defer other.End()
		err := fn(first)
		_ = fn(second)
		return err
	})
	base := roundTripper(func(r *http.Request) (*http.Response, error) {
		made.requireClosed(t)
		return reply(r, 503, made.new("busy")), nil
	})
	resp, err := transport(base, p).RoundTrip(get(t, "http://server.test/"))
	require.NoError(t, err)
	require.Equal(t, "busy", readAll(t, resp))
	require.Len(t, made.all, 2)
}

func TestTransport_requestCancelLeavesNothingBehind(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // which fails on a goroutine left over
		r, err := http.NewRequestWithContext(context.Background(), http.MethodGet, "http://server.test/", nil)
		require.NoError(t, err)
		r.Cancel = make(chan struct{})
		var made bodies
		resp, err := transport(statuses(&made, 200), retrying(2, nil)).RoundTrip(r)
		require.NoError(t, err)
		readAll(t, resp)
	})
}

func TestTransport_ofSeveralSuccessesOneIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var made bodies
		var all sync.WaitGroup
		all.Add(3)
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			all.Done()
			all.Wait()
			return reply(r, 200, made.new("content")), nil
		})
		var errs []error
		p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
			ends := make(chan error)
			for range 3 {
				go func() { ends <- fn(ctx) }()
			}
			errs = append(errs, <-ends, <-ends, <-ends)
			return nil
		})
		resp, err := transport(base, p).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		require.Equal(t, "content", readAll(t, resp))
		require.ElementsMatch(t, []error{nil, context.Canceled, context.Canceled}, errs)
		for _, b := range made.all {
			require.EqualValues(t, 1, b.closes.Load())
		}
	})
}
