//go:build !race

package tholegrpc_test

import (
	"testing"

	"github.com/stretchr/testify/assert"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholegrpc"
)

func TestUnaryClient_allocations(t *testing.T) {
	p := thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{}))
	call := tholegrpc.UnaryClientInterceptor(p)
	req, reply := say("x"), new(text)
	for _, method := range []string{post, get} {
		got := testing.AllocsPerRun(500, func() { _ = call(t.Context(), method, req, reply, nil, instant) })
		assert.LessOrEqual(t, got, 2.0, method)
	}
	once := tholegrpc.UnaryClientInterceptor(p)
	assert.LessOrEqual(t, testing.AllocsPerRun(500, func() { _ = once(t.Context(), post, req, reply, nil, instant) }), 1.0)
}
