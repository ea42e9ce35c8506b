package bulkhead_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/bulkhead"
)

func TestBulkhead_rule26_loweringDrains(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: 1})
		var releases []func()
		for range 4 {
			releases = append(releases, hold(t, b))
		}
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 2, MaxWaiting: 1}))
		require.Equal(t, 2, b.Stats().Limit)
		require.Equal(t, 4, b.Stats().InUse)
		c := start(t.Context(), b, 1)
		releases[0]()
		c.requireWaiting(t)
		releases[1]()
		c.requireWaiting(t)
		_, ok := b.TryAcquire()
		require.False(t, ok)
		releases[2]()
		c.requireAdmitted(t)
		releases[3]()
		c.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule26_raisingWakesWaitersInOrder(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1})
		release := hold(t, b)
		var calls []*call
		for range 5 {
			calls = append(calls, start(t.Context(), b, 1))
		}
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 4, MaxWaiting: -1}))
		for _, c := range calls[:3] {
			c.requireAdmitted(t)
		}
		for _, c := range calls[3:] {
			c.requireWaiting(t)
		}
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 100, MaxWaiting: -1}))
		release()
		for _, c := range calls {
			c.requireAdmitted(t)
			c.release()
		}
		requireWhole(t, b)
	})
}

func TestBulkhead_rule26_changedMaxWaitRetimesWaiters(t *testing.T) {
	for _, row := range []struct {
		name            string
		before, after   time.Duration
		wantTook        time.Duration
		wantWaitingLeft int
	}{
		{"longer", 10 * time.Second, 20 * time.Second, 20 * time.Second, 0},
		{"shorter", 10 * time.Second, 6 * time.Second, 6 * time.Second, 0},
		{"over already", 10 * time.Second, 3 * time.Second, 5 * time.Second, 0},
		{"on, from now", 0, 7 * time.Second, 12 * time.Second, 0},
		{"off", 10 * time.Second, 0, 0, 1},
	} {
		t.Run(row.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: row.before})
				release := hold(t, b)
				c := start(t.Context(), b, 1)
				time.Sleep(5 * time.Second)
				require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: row.after}))
				time.Sleep(time.Hour)
				synctest.Wait()
				require.Equal(t, row.wantWaitingLeft, b.Stats().Waiting)
				release()
				if row.wantWaitingLeft == 0 {
					c.requireError(t, bulkhead.ErrWait)
					require.Equal(t, row.wantTook, c.took)
				} else {
					c.requireAdmitted(t)
					c.release()
				}
				requireWhole(t, b)
			})
		})
	}
}

func TestBulkhead_rule26_loweredMaxWaitingKeepsThoseQueued(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: 3})
		release := hold(t, b)
		first, second := start(t.Context(), b, 1), start(t.Context(), b, 1)
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1}))
		first.requireWaiting(t)
		second.requireWaiting(t)
		_, err := b.Acquire(t.Context())
		require.ErrorIs(t, err, bulkhead.ErrFull)
		release()
		first.requireAdmitted(t)
		_, err = b.Acquire(t.Context())
		require.ErrorIs(t, err, bulkhead.ErrFull)
		first.release()
		second.requireAdmitted(t)
		second.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_rule26_loweringBelowAWaitersWeightRefusesIt(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 10, MaxWaiting: -1})
		release := hold(t, b)
		heavy, light := start(t.Context(), b, 10), start(t.Context(), b, 2)
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 9, MaxWaiting: -1}))
		heavy.requireError(t, bulkhead.ErrWeight)
		require.EqualError(t, heavy.err, "bulkhead: 10 permits asked for, more than the limit of 9")
		light.requireAdmitted(t)
		release()
		light.release()
		// A later raise serves who asks then.
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 10, MaxWaiting: -1}))
		all, err := b.AcquireN(t.Context(), 10)
		require.NoError(t, err)
		all()
		requireWhole(t, b)
	})
}

func TestBulkhead_shadowSwitchedOnLetsWaitersGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := bulkhead.New(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: time.Hour})
		release := hold(t, b)
		first, second := start(t.Context(), b, 1), start(t.Context(), b, 1)
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, MaxWaiting: -1, MaxWait: time.Hour, Shadow: true}))
		first.requireAdmitted(t)
		second.requireAdmitted(t)
		require.Equal(t, 2, b.Stats().Shadowed)
		require.Equal(t, 1, b.Stats().InUse)
		require.NoError(t, b.Reconfigure(bulkhead.Config{Limit: 1, MaxWaiting: -1}))
		release()
		first.release()
		second.release()
		requireWhole(t, b)
	})
}

func TestBulkhead_badReconfigureChangesNothing(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Name: "db", Limit: 3, MaxWaiting: 2, MaxWait: time.Second})
	before := b.Describe()
	err := b.Reconfigure(bulkhead.Config{Name: "other", Limit: 0, MaxWaiting: 9})
	require.ErrorContains(t, err, "Limit is 0")
	require.Equal(t, before, b.Describe())
	require.Equal(t, 3, b.Stats().Limit)
}

func TestBulkhead_reconfigureRenames(t *testing.T) {
	b := bulkhead.New(bulkhead.Config{Limit: 1})
	require.Equal(t, "bulkhead", b.String())
	require.NoError(t, b.Reconfigure(bulkhead.Config{Name: "db", Limit: 1}))
	require.Equal(t, "bulkhead[db]", b.String())
	hold(t, b)
	_, err := b.Acquire(t.Context())
	require.EqualError(t, err, "bulkhead[db]: full")
}

func TestBulkhead_describe(t *testing.T) {
	type settings = []thole.Setting
	for _, row := range []struct {
		cfg     bulkhead.Config
		maxWait time.Duration
		want    settings
	}{
		{bulkhead.Config{Limit: 5}, 0, settings{{Key: "Limit", Value: "5"}, {Key: "MaxWaiting", Value: "0"}}},
		{bulkhead.Config{Limit: 5, MaxWait: time.Second}, 0, settings{{Key: "Limit", Value: "5"}, {Key: "MaxWaiting", Value: "0"}}},
		{bulkhead.Config{Limit: 5, MaxWaiting: 2}, -1, settings{{Key: "Limit", Value: "5"}, {Key: "MaxWaiting", Value: "2"}, {Key: "MaxWait", Value: "as long as the context allows"}}},
		{bulkhead.Config{Limit: 5, MaxWaiting: -3, MaxWait: time.Second}, time.Second, settings{{Key: "Limit", Value: "5"}, {Key: "MaxWaiting", Value: "any number"}, {Key: "MaxWait", Value: "1s"}}},
		{bulkhead.Config{Limit: 5, MaxWaiting: 2, Shadow: true}, 0, settings{{Key: "Limit", Value: "5"}, {Key: "MaxWaiting", Value: "2"}, {Key: "MaxWait", Value: "as long as the context allows"}, {Key: "Shadow", Value: "true"}}},
	} {
		row.cfg.Name = "db"
		d := bulkhead.New(row.cfg).Describe()
		require.Equal(t, "bulkhead[db]", d.String())
		require.True(t, d.Blocking)
		require.Equal(t, row.maxWait, d.MaxWait)
		require.Equal(t, row.want, d.Settings)
	}
}
