package thole_test

import (
	"context"
	"math"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

// described is a policy that is nothing but its description.
type described struct{ thole.Description }

func (described) Do(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) }

func (d described) Describe() thole.Description { return d.Description }

func timeoutOf(name string, limit time.Duration) thole.Policy {
	return described{thole.Description{Kind: "timeout", Name: name, Limit: limit}}
}

func retryOf(name string, runs int, pauses time.Duration) thole.Policy {
	return described{thole.Description{Kind: "retry", Name: name, Runs: runs, Pauses: pauses}}
}

func hedgeOf(runs int, delay time.Duration) thole.Policy {
	return described{thole.Description{Kind: "hedge", Runs: runs, Delay: delay, Pauses: delay * time.Duration(runs-1)}}
}

func breakerOf(window time.Duration, targets ...string) thole.Policy {
	return described{thole.Description{Kind: "breaker", Window: window, Targets: targets}}
}

func waitOf(kind string, wait time.Duration) thole.Policy {
	return described{thole.Description{Kind: kind, MaxWait: wait}}
}

func TestLint(t *testing.T) {
	shared := thole.PerTarget(func(string) thole.Policy { return sharedBreaker })
	for _, target := range []string{"a", "b"} {
		require.NoError(t, shared.Do(thole.WithTarget(t.Context(), target), ok))
	}
	byTenant := thole.Keyed(func(context.Context) string { return "" }, func(string) thole.Policy {
		return breakerOf(time.Minute, "a", "b")
	}, thole.KeyedConfig{})
	require.NoError(t, byTenant.Do(t.Context(), ok))
	perTarget := thole.PerTarget(func(string) thole.Policy {
		return thole.Chain(quietLayer{}, breakerOf(time.Minute, "a", "b"))
	})
	require.NoError(t, perTarget.Do(t.Context(), ok))
	stateless := thole.PerTarget(func(string) thole.Policy { return new(quietLayer) })
	for _, target := range []string{"a", "b"} {
		require.NoError(t, stateless.Do(thole.WithTarget(t.Context(), target), ok))
	}
	withSettings := func(d thole.Description, key, value string) thole.Policy {
		d.Settings = []thole.Setting{{Key: key, Value: value}}
		return described{d}
	}
	once := described{thole.Description{Kind: "once", Once: true}}
	for _, c := range []struct {
		name string
		p    thole.Policy
		want []string
	}{
		{"nothing", nil, nil},
		{"sound", thole.Chain(timeoutOf("total", 30*time.Second), waitOf("ratelimit", time.Second), waitOf("bulkhead", -1),
			retryOf("", 3, time.Second), hedgeOf(2, time.Second), breakerOf(20*time.Second), timeoutOf("attempt", 10*time.Second)), nil},
		{"timeout-order", thole.Chain(timeoutOf("total", time.Second), timeoutOf("attempt", time.Second)), []string{
			"error timeout-order: timeout[attempt] of 1s is inside timeout[total] of 1s and can never end a call: make it shorter than the limit around it"}},
		{"timeout-short", thole.Chain(timeoutOf("total", 2*time.Second), retryOf("", 3, 0), timeoutOf("attempt", time.Second)), []string{
			"warning timeout-short: timeout[total] of 2s is too short for the 3 attempts of retry at up to 1s each (3s): the last ones are cut off or never made"}},
		{"retry-nested", thole.Chain(retryOf("outer", 3, 0), retryOf("inner", 4, 0)), []string{
			"warning retry-nested: retry[inner] (4 attempts) is inside retry[outer] (3 attempts): a failing destination gets up to 12 calls for one: let one layer retry"}},
		{"retry-nested without end", thole.Chain(retryOf("outer", -1, 0), retryOf("inner", 4, 0)), []string{
			"warning retry-nested: retry[inner] (4 attempts) is inside retry[outer] (unlimited attempts): a failing destination gets calls without end: let one layer retry"}},
		{"retry-nested beyond counting", thole.Chain(retryOf("outer", 1<<30, 0), retryOf("inner", 3, 0)), []string{
			"warning retry-nested: retry[inner] (3 attempts) is inside retry[outer] (1073741824 attempts): a failing destination gets calls without end: let one layer retry"}},
		{"attempts that begin in time", thole.Chain(timeoutOf("", 10*time.Second),
			withSettings(thole.Description{Kind: "retry", Runs: 10}, "MaxElapsed", "8s"), timeoutOf("", 2*time.Second)), nil},
		{"attempts that begin too late", thole.Chain(timeoutOf("", 10*time.Second),
			withSettings(thole.Description{Kind: "retry", Runs: 10}, "MaxElapsed", "9s"), timeoutOf("", 2*time.Second)), []string{
			"warning timeout-short: timeout of 10s is too short for the 10 attempts of retry at up to 2s each (20s): the last ones are cut off or never made"}},
		{"never-acts alone", thole.Chain(retryOf("", 1, 0)), []string{
			"warning never-acts: retry is configured for a single attempt: it never acts; leave it out, or allow more"}},
		{"never-acts inside once", thole.Chain(once, hedgeOf(2, 1)), []string{
			"warning never-acts: hedge (2 attempts) is inside once, which allows one run of fn: it never acts"}},
		{"hedge-late", thole.Chain(hedgeOf(2, time.Second), timeoutOf("", time.Second)), []string{
			"error hedge-late: hedge starts another attempt after 1s, but timeout ends the first one after 1s: hedge earlier, or allow attempts more time"}},
		{"a hedge around retries", thole.Chain(hedgeOf(2, 2*time.Second), retryOf("", 3, 0), timeoutOf("", time.Second)), nil},
		{"a hedge around a wait", thole.Chain(hedgeOf(2, 2*time.Second), waitOf("bulkhead", 5*time.Second), timeoutOf("", time.Second)), nil},
		{"breaker-window", thole.Chain(breakerOf(10*time.Second), timeoutOf("", 6*time.Second)), []string{
			"warning breaker-window: breaker looks back 10s, but calls that hang are counted only after 6s (timeout): a window of at least 12s sees two rounds of them"}},
		{"a hang that counts while it lasts", thole.Chain(
			withSettings(thole.Description{Kind: "breaker", Window: 10 * time.Second}, "SlowCall", "5s"), timeoutOf("", 6*time.Second)), nil},
		{"a hang that ends before it is slow", thole.Chain(
			withSettings(thole.Description{Kind: "breaker", Window: 10 * time.Second}, "SlowCall", "6s"), timeoutOf("", 6*time.Second)), []string{
			"warning breaker-window: breaker looks back 10s, but calls that hang are counted only after 6s (timeout): a window of at least 12s sees two rounds of them"}},
		{"breaker-shared", thole.Chain(breakerOf(0, "http://a:80", "http://b:80")), []string{
			"warning breaker-shared: breaker guards several targets (http://a:80, http://b:80, …): when one of them fails all are cut off; use PerTarget or Keyed"}},
		{"breaker-shared by make", shared, []string{
			"error breaker-shared: perTarget uses the very same policy for several keys: make a new one for each key"}},
		{"a keyed breaker is not shared", byTenant, nil},
		{"breaker-shared in what make returns", perTarget, []string{
			"error breaker-shared: breaker is inside perTarget and yet guards several targets (a, b, …): make a new one for each target"}},
		{"policies without fields are not shared", stateless, nil},
		{"chaos-enabled", described{thole.Description{Kind: "chaos", Settings: []thole.Setting{{Key: "ENABLED", Value: "until disabled"}}}}, []string{
			"warning chaos-enabled: chaos injects faults, until disabled: disable it unless this is a drill"}},
		{"chaos may exceed limits", thole.Chain(timeoutOf("", time.Second), waitOf("chaos", time.Minute)), nil},
		{"chaos that is off", described{thole.Description{Kind: "chaos", Settings: []thole.Setting{{Key: "Seed", Value: "1"}}}}, nil},
		{"wait-long", thole.Chain(timeoutOf("", time.Second), waitOf("tokenbucket", time.Second)), []string{
			"warning wait-long: tokenbucket lets a call wait up to 1s, but timeout around it ends after 1s: the wait leaves no time for the call"}},
	} {
		var got []string
		for _, f := range thole.Lint(c.p) {
			got = append(got, f.String())
		}
		assert.Equal(t, c.want, got, c.name)
	}
}

var sharedBreaker = &described{thole.Description{Kind: "breaker"}}

func TestExplain_boundsTheWorstCase(t *testing.T) {
	for _, c := range []struct {
		name string
		p    thole.Policy
		want string
	}{
		{"nothing", nil, "At worst a call takes as long as its context allows and runs fn once.\n"},
		{"attempts", thole.Chain(retryOf("", 3, time.Second), timeoutOf("", 2*time.Second)),
			"At worst a call takes 7s and runs fn 3 times.\n"},
		{"a total limit", thole.Chain(timeoutOf("", 5*time.Second), retryOf("", 3, time.Second), timeoutOf("", 2*time.Second)),
			"At worst a call takes 5s and runs fn 3 times.\n"},
		{"attempts without a limit", retryOf("", 3, time.Second),
			"At worst a call takes as long as its context allows and runs fn 3 times.\n"},
		{"pauses that nobody knows", thole.Chain(retryOf("", 3, math.MaxInt64), timeoutOf("", time.Second)),
			"At worst a call takes as long as its context allows and runs fn 3 times.\n"},
		{"runs without a bound for a time", thole.Chain(retryOf("", -1, time.Minute), timeoutOf("", time.Second)),
			"At worst a call takes 1m1s and runs fn without a bound.\n"},
		{"runs that begin within a time", thole.Chain(described{thole.Description{
			Kind: "retry", Runs: 1000, Pauses: time.Minute, Settings: []thole.Setting{{Key: "MaxElapsed", Value: "1m0s"}},
		}}, timeoutOf("", time.Second)),
			"At worst a call takes 1m1s and runs fn 1000 times.\n"},
		{"no bound", thole.Chain(retryOf("", -1, 0), timeoutOf("", time.Second)),
			"At worst a call takes as long as its context allows and runs fn without a bound.\n"},
		{"hedges side by side inside a retry", thole.Chain(retryOf("", 2, 0), hedgeOf(3, time.Second), timeoutOf("", 5*time.Second)),
			"At worst a call takes 14s and runs fn 6 times.\n"},
		{"waits", thole.Chain(waitOf("bulkhead", time.Second), timeoutOf("", time.Second)),
			"At worst a call takes 2s and runs fn once.\n"},
		{"waits without a bound", thole.Chain(waitOf("bulkhead", -1), timeoutOf("", time.Second)),
			"At worst a call takes as long as its context allows and runs fn once.\n"},
	} {
		text := thole.Explain(c.p)
		assert.Contains(t, text, c.want, c.name)
	}
}

func TestExplain_listsLayersWithTheirSettings(t *testing.T) {
	inner := described{thole.Description{Kind: "breaker", Settings: []thole.Setting{{Key: "OpenFor", Value: "5s"}, {Key: "Probes", Value: "1"}}}}
	keyed := thole.PerTarget(func(string) thole.Policy { return inner })
	p := thole.Chain(timeoutOf("total", time.Second), keyed, quietLayer{})
	require.NoError(t, p.Do(t.Context(), ok))
	assert.Equal(t, `timeout[total](perTarget(breaker)(thole_test.quietLayer))
 1. timeout[total]
 2. perTarget: MaxKeys 10000, IdleFor 10m0s
 3.   breaker: OpenFor 5s, Probes 1
 4. quiet
At worst a call takes 1s and runs fn once.
`, thole.Explain(p))
}
