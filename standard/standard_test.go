package standard_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/timeout"
)

var errBoom = errors.New("boom")

func TestClient_isSound(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Client()
		assert.Empty(t, thole.Lint(p))
		for _, target := range []string{"a", "b"} {
			_ = p.Do(thole.WithTarget(t.Context(), target), func(context.Context) error { return errBoom })
		}
		assert.Empty(t, thole.Lint(p), "with policies of two targets in it")
		assert.Contains(t, thole.Explain(p), "At worst a call takes 30s and runs fn 3 times.")
	})
}

func TestClient_retriesWithinItsBudget(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Client()
		runs := 0
		err := p.Do(t.Context(), func(context.Context) error { runs++; return errBoom })
		require.ErrorIs(t, err, errBoom)
		require.ErrorIs(t, err, retry.ErrExhausted)
		assert.Equal(t, 3, runs)
		require.ErrorIs(t, p.Do(thole.Once(t.Context()), func(context.Context) error { runs++; return errBoom }), errBoom)
		assert.Equal(t, 4, runs)
	})
}

func TestClient_aDeadTargetIsCutOffAloneAndComesBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Client()
		call := func(target string, err error) error {
			return p.Do(thole.Once(thole.WithTarget(t.Context(), target)), func(context.Context) error { return err })
		}
		for range 1000 {
			require.NoError(t, call("dead", nil))
		}
		sent := 0
		for range 1000 {
			if err := call("dead", errBoom); !errors.Is(err, breaker.ErrOpen) {
				sent++
			}
		}
		assert.Equal(t, 12, sent)
		require.NoError(t, call("other", nil))
		time.Sleep(time.Second)
		require.NoError(t, call("dead", nil))
		require.NoError(t, call("dead", nil))
	})
}

func TestClient_toleratesOneFailureInFive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Client()
		for i := range 10_000 {
			var want error
			if i%5 == 0 {
				want = errBoom
			}
			require.Equal(t, want == nil, p.Do(thole.Once(t.Context()), func(context.Context) error { return want }) == nil)
		}
		require.NoError(t, p.Do(t.Context(), func(context.Context) error { return nil }))
	})
}

func TestClient_mendsCallsThatEachFailOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Client()
		for range 1000 {
			failed := false
			require.NoError(t, p.Do(t.Context(), func(context.Context) error {
				if !failed {
					failed = true
					return errBoom
				}
				return nil
			}))
			time.Sleep(100 * time.Millisecond) // ten a second is what the budget allows at the least
		}
	})
}

func TestClient_limitsAttemptsAndTheWhole(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start := time.Now()
		var lengths []time.Duration
		err := standard.Client().Do(t.Context(), func(ctx context.Context) error {
			began := time.Now()
			<-ctx.Done()
			lengths = append(lengths, time.Since(began))
			return ctx.Err()
		})
		require.ErrorIs(t, err, timeout.ErrTimeout)
		assert.Equal(t, 10*time.Second, lengths[0])
		assert.LessOrEqual(t, time.Since(start), 30*time.Second)
	})
}

func TestServer_boundsCallsAndQueue(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := standard.Server(2)
		assert.Empty(t, thole.Lint(p))
		results := make(chan error, 6)
		for range 6 {
			go func() {
				results <- p.Do(t.Context(), func(context.Context) error { time.Sleep(10 * time.Second); return nil })
			}()
		}
		synctest.Wait()
		for range 2 {
			require.ErrorIs(t, <-results, bulkhead.ErrFull)
		}
		for range 2 {
			require.ErrorIs(t, <-results, bulkhead.ErrWait)
		}
		for range 2 {
			require.NoError(t, <-results)
		}
	})
	require.PanicsWithValue(t, "standard: Server: limit is 0: want at least 1", func() { standard.Server(0) })
}

// Lint and Explain on policies as they are, rather than as the root's own tests describe them.
func TestLint_onRealPolicies(t *testing.T) {
	ids := func(p thole.Policy) (ids []string) {
		for _, f := range thole.Lint(p) {
			ids = append(ids, f.ID)
		}
		return ids
	}
	second := timeout.New(timeout.Config{Limit: time.Second})
	b := breaker.New(breaker.Config{})
	require.Empty(t, ids(b))
	for _, target := range []string{"http://a:80", "http://b:80"} {
		_ = b.Do(thole.WithTarget(t.Context(), target), func(context.Context) error { return errBoom })
	}
	assert.Equal(t, []string{"breaker-shared"}, ids(b))
	assert.Equal(t, []string{"timeout-order"}, ids(thole.Chain(second, second)))
	assert.Equal(t, []string{"retry-nested"}, ids(thole.Chain(retry.New(retry.Config{}), retry.New(retry.Config{}))))
	assert.Equal(t, []string{"never-acts"}, ids(retry.New(retry.Config{MaxAttempts: 1})))
	assert.Equal(t, []string{"breaker-window"}, ids(thole.Chain(breaker.New(breaker.Config{}), timeout.New(timeout.Config{Limit: 6 * time.Second}))))
	assert.Equal(t, []string{"wait-long"}, ids(thole.Chain(second, bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 1, MaxWait: time.Second}))))
	assert.Equal(t, []string{"timeout-short"}, ids(thole.Chain(timeout.New(timeout.Config{Limit: 2 * time.Second}), retry.New(retry.Config{}), second)))
}
