//go:build race

package tholetest

import (
	"context"
	"os"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
)

// A data race shows when the tests run under the race detector.
func TestRun_dataRaceIsCaughtUnderRace(t *testing.T) {
	const key = "THOLETEST_RACY"
	if os.Getenv(key) != "" {
		Run(t, func() thole.Policy {
			calls := 0
			return thole.PolicyFunc(func(ctx context.Context, fn fnType) error {
				calls++
				return good(ctx, fn)
			})
		})
		return
	}
	out := rerun(t, key, "1")
	assert.Contains(t, out, "DATA RACE")
	assert.Contains(t, out, "--- FAIL: TestRun_dataRaceIsCaughtUnderRace/clause1/concurrent_use")
}
