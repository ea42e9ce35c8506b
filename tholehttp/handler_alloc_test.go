//go:build !race

package tholehttp_test

import (
	"context"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

func TestHandler_allocations(t *testing.T) {
	pass := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error { return fn(ctx) })
	next := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(204) })
	h := tholehttp.NewHandler(next, pass, tholehttp.HandlerConfig{})
	w, r := nativeWriter(), httptest.NewRequest("GET", "/", nil)
	// The exchange, the function for the policy, the context without marks, the request's copy.
	assert.LessOrEqual(t, testing.AllocsPerRun(1000, func() { h.ServeHTTP(w, r) }), 4.0)
}
