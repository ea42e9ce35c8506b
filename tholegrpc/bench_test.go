package tholegrpc_test

import (
	"context"
	"testing"
	"time"

	"google.golang.org/grpc"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholegrpc"
)

func instant(context.Context, string, any, any, *grpc.ClientConn, ...grpc.CallOption) error {
	return nil
}

// BenchmarkUnaryClient is over an invoker that does nothing.
func BenchmarkUnaryClient(b *testing.B) {
	for name, p := range map[string]thole.Policy{
		"none":                       nil,
		"breaker":                    breaker.New(breaker.Config{ConsecutiveFailures: 5}),
		"retry+breaker, consecutive": thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{ConsecutiveFailures: 5})),
		"retry+breaker, window":      thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{})),
		"standard":                   standard.Client(),
		"hedge":                      hedge.New(hedge.Config{Delay: time.Minute}),
	} {
		for kind, method := range map[string]string{"once": post, "repeatable": get} {
			b.Run(name+"/"+kind, func(b *testing.B) {
				call := tholegrpc.UnaryClientInterceptor(p)
				ctx, req, reply := context.Background(), say("x"), new(text)
				b.ReportAllocs()
				for b.Loop() {
					_ = call(ctx, method, req, reply, nil, instant)
				}
			})
		}
	}
}

// BenchmarkChainAlone is the part of it that is the policies' own.
func BenchmarkChainAlone(b *testing.B) {
	p := thole.Chain(retry.New(retry.Config{}), breaker.New(breaker.Config{ConsecutiveFailures: 5}))
	fn := func(context.Context) error { return nil }
	for b.Loop() {
		_ = p.Do(context.Background(), fn)
	}
}
