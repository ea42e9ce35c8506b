package tholegrpc_test

import (
	"os/exec"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// The interceptors work with any policy: they know none.
func TestArchitecture_importsNoPolicy(t *testing.T) {
	out, err := exec.Command("go", "list", "-deps", ".").Output()
	require.NoError(t, err)
	for _, dep := range strings.Fields(string(out)) {
		if own, ok := strings.CutPrefix(dep, "github.com/thole-go/thole/"); ok {
			assert.Equal(t, "tholegrpc", own)
		}
		assert.NotEqual(t, "testing", dep)
		assert.NotContains(t, dep, "testify")
	}
}
