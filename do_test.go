package thole_test

import (
	"context"
	"errors"
	"sync"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestDo_returnsTheValueOrZero(t *testing.T) {
	boom := errors.New("boom")
	for _, c := range []struct {
		name string
		err  error
		want int
		out  error
	}{
		{"success", nil, 5, nil},
		{"failure", boom, 0, boom},
		{"answer", thole.Answer(boom), 5, boom},
		{"permanent", thole.Permanent(boom), 0, boom},
	} {
		for _, p := range []thole.Policy{nil, thole.Chain(), thole.Chain(quietLayer{}, newGate("g", nil))} {
			v, err := thole.Do(t.Context(), p, func(context.Context) (int, error) { return 5, c.err })
			assert.Equal(t, c.want, v, c.name)
			assert.Equal(t, c.out, err, c.name)
		}
	}
}

func TestDoOr_fallsBackOnFailureOnly(t *testing.T) {
	boom := errors.New("boom")
	refuse := newGate("g", nil)
	refuse.refuse = thole.Rejection(thole.ReasonFull, "full")
	for _, c := range []struct {
		name   string
		p      thole.Policy
		err    error
		want   string
		told   error
		gotErr error
	}{
		{"success", nil, nil, "value", nil, nil},
		{"answer", nil, thole.Answer(boom), "value", nil, boom},
		{"failure", nil, thole.Permanent(boom), "fallback", boom, nil},
		{"rejection", refuse, nil, "fallback", refuse.refuse, nil},
	} {
		var told error
		v, err := thole.DoOr(t.Context(), c.p,
			func(context.Context) (string, error) { return "value", c.err },
			func(_ context.Context, err error) (string, error) { told = err; return "fallback", nil })
		assert.Equal(t, c.want, v, c.name)
		assert.Equal(t, c.told, told, c.name)
		assert.Equal(t, c.gotErr, err, c.name)
	}
}

// both runs fn twice side by side and returns the first nil, or the second error.
type both struct{ stragglers sync.WaitGroup }

func (p *both) Do(ctx context.Context, fn func(context.Context) error) error {
	results := make(chan error, 2)
	for range 2 {
		p.stragglers.Go(func() { results <- fn(ctx) })
	}
	if err := <-results; err == nil {
		return nil
	}
	return <-results
}

func TestDo_theFirstSuccessClaimsTheResult(t *testing.T) {
	p := &both{}
	for range 500 {
		var mu sync.Mutex
		n := 0
		v, err := thole.Do(t.Context(), p, func(context.Context) ([]int, error) {
			mu.Lock()
			defer mu.Unlock()
			n++
			return []int{n}, nil
		})
		require.NoError(t, err)
		require.Len(t, v, 1)
		before := v[0]
		p.stragglers.Wait()
		require.Equal(t, before, v[0])
	}
}

func TestDo_aLateSuccessIsToldItIsCancelled(t *testing.T) {
	var second error
	p := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
		err := fn(ctx)
		second = fn(ctx)
		return err
	})
	n := 0
	v, err := thole.Do(t.Context(), p, func(context.Context) (int, error) { n++; return n, nil })
	require.NoError(t, err)
	assert.Equal(t, 1, v)
	assert.Equal(t, context.Canceled, second)
}

func TestDo_aPolicyThatSucceedsWithoutRunningFnYieldsZero(t *testing.T) {
	p := thole.PolicyFunc(func(context.Context, func(context.Context) error) error { return nil })
	v, err := thole.Do(t.Context(), p, func(context.Context) (int, error) { return 5, nil })
	require.NoError(t, err)
	assert.Zero(t, v)
}
