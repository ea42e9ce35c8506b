package thole_test

import (
	"encoding/json"
	"errors"
	"io"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

const module = "github.com/thole-go/thole"

type listed struct {
	ImportPath string
	Imports    []string
	Deps       []string
	Standard   bool
	Name       string
}

func list(t *testing.T, args ...string) []listed {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-json=ImportPath,Imports,Deps,Standard,Name"}, args...)...)
	var stderr strings.Builder
	cmd.Stderr = &stderr
	out, err := cmd.Output()
	require.NoError(t, err, stderr.String())
	var all []listed
	for d := json.NewDecoder(strings.NewReader(string(out))); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all
		} else {
			require.NoError(t, err)
		}
		all = append(all, p)
	}
}

// The layers of the module: what each may import of it. The root knows nobody, policies know
// the root, edges know the root and no policy; package standard alone puts policies together.
func TestArchitecture_importsPointInwards(t *testing.T) {
	policies := []string{"breaker", "retry", "bulkhead", "ratelimit", "timeout", "hedge", "chaos"}
	isInternal := func(path string) bool { return strings.HasPrefix(path, module+"/internal/") }
	for _, p := range list(t, "./...") {
		name := strings.TrimPrefix(strings.TrimPrefix(p.ImportPath, module), "/")
		for _, imp := range p.Imports {
			if imp != module && !strings.HasPrefix(imp, module+"/") {
				assertThirdParty(t, name, imp)
				continue
			}
			inner := strings.TrimPrefix(strings.TrimPrefix(imp, module), "/")
			switch {
			case name == "":
				assert.Fail(t, "the root imports a package of its own module", imp)
			case isInternal(p.ImportPath):
				assert.Equal(t, "internal/stripe", inner, "a leaf imports the module: %s imports %s", name, imp)
			case name == "standard":
			default:
				assert.False(t, slices.Contains(policies, inner), "%s imports the policy %s", name, inner)
				assert.True(t, inner == "" || isInternal(imp), "%s imports %s", name, imp)
			}
		}
	}
}

// assertThirdParty checks an import from outside of the module.
func assertThirdParty(t *testing.T, name, imp string) {
	t.Helper()
	first, _, _ := strings.Cut(imp, "/")
	if !strings.Contains(first, ".") {
		return // the standard library
	}
	allowed := map[string][]string{"retry": {"github.com/cenkalti/backoff/v4"}}
	if !strings.HasPrefix(imp, "golang.org/x/sync/") || name == "" || strings.HasPrefix(name, "thole") {
		assert.Contains(t, allowed[name], imp, "%s imports it", name)
	}
}

// Test code must not reach those who import the module.
func TestArchitecture_noTestCodeInProduction(t *testing.T) {
	for _, p := range list(t, "./...") {
		if p.ImportPath == module+"/tholetest" {
			continue
		}
		for _, dep := range p.Deps {
			assert.NotEqual(t, "testing", dep, p.ImportPath)
			assert.NotContains(t, dep, "testify", p.ImportPath)
		}
	}
}
