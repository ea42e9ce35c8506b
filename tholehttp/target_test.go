package tholehttp

import (
	"net/url"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestTargetOf(t *testing.T) {
	var names targets
	for raw, want := range map[string]string{
		"http://example.com/path?q":     "http://example.com:80",
		"https://example.com":           "https://example.com:443",
		"HTTPS://User@Example.COM:8443": "https://example.com:8443",
		"http://example.com:/":          "http://example.com:80",
		"http://example.com:80":         "http://example.com:80",
		"https://example.com:80":        "https://example.com:80",
		"http://[2001:DB8::1]/":         "http://[2001:db8::1]:80",
		"https://[::1]:9443/":           "https://[::1]:9443",
		"unix://socket/path":            "unix://socket",
		"/relative":                     "",
	} {
		u, err := url.Parse(raw)
		require.NoError(t, err)
		require.Equal(t, want, targetOf(u), raw)
		for range 2 { // anew, and remembered
			require.Equal(t, want, names.of(u), raw)
		}
	}
	require.Empty(t, names.of(nil))
}
