//go:build !race

package tholehttp

import (
	"net/http"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestRateLimit_allocations(t *testing.T) {
	h := http.Header{"Ratelimit": {`"burst";r=0;t=7;pk=:cHsdsRa894==:, "daily";r=100;t=3600;x="y"`}}
	require.Zero(t, testing.AllocsPerRun(1000, func() {
		if _, ok := rateLimitReset(h); !ok {
			t.Fatal("not read")
		}
	}))
}
