package ratelimit_test

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole/ratelimit"
)

// A window in a package variable, used in a bubble, whose clock is decades behind: no call
// ever left it, and a wait in it never ended.
func TestSlidingWindow_rule07_madeOutsideTheBubbleItIsUsedIn(t *testing.T) {
	for _, exact := range []bool{false, true} {
		s := ratelimit.NewSlidingWindow(ratelimit.SlidingWindowConfig{Limit: 1, Window: time.Second, Exact: exact, MaxWait: -1})
		s.Allow()
		pass := func() error { return s.Do(context.Background(), func(context.Context) error { return nil }) }
		for range 3 {
			synctest.Test(t, func(t *testing.T) {
				start := time.Now()
				for range 4 {
					assert.NoError(t, pass())
				}
				assert.LessOrEqual(t, time.Since(start), 8*time.Second, "exact %v", exact)
				time.Sleep(2 * time.Second)
			})
		}
		synctest.Test(t, func(t *testing.T) {
			time.Sleep(time.Hour)
			for range 3 {
				assert.True(t, s.Allow(), "exact %v", exact)
				assert.False(t, s.Allow(), "exact %v", exact)
				time.Sleep(2 * time.Second)
				if !assert.True(t, s.Allow(), "exact %v", exact) {
					return // to wait would hang
				}
				assert.NoError(t, s.Wait(context.Background()))
				time.Sleep(2 * time.Second)
			}
		})
	}
}
