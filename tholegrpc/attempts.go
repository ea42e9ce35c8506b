package tholegrpc

import (
	"context"
	"strconv"

	"google.golang.org/grpc/metadata"
)

// AttemptKey is the metadata key under which [WithAttemptHeader] sends how many attempts of
// the same call there were before.
const AttemptKey = "thole-attempt"

// grpcAttemptKey is where gRPC tells of the retries that it makes itself.
const grpcAttemptKey = "grpc-previous-rpc-attempts"

// PreviousAttempts returns how many attempts of the same call its client has made before, as
// far as it says: by [WithAttemptHeader], or, for gRPC's own retries, by
// grpc-previous-rpc-attempts; if both, the sum. ctx is that of a handler, or of a server's
// interceptor.
func PreviousAttempts(ctx context.Context) int {
	return incoming(ctx, AttemptKey) + incoming(ctx, grpcAttemptKey)
}

// maxAttempt bounds what is believed of a number that comes from outside.
const maxAttempt = 1 << 20

func incoming(ctx context.Context, key string) int {
	values := metadata.ValueFromIncomingContext(ctx, key)
	if len(values) != 1 {
		return 0
	}
	n, err := strconv.Atoi(values[0])
	if err != nil || n < 0 {
		return 0
	}
	return min(n, maxAttempt)
}

// withAttempt returns a context that tells the server of the attempts before. It derives
// from the attempt's own, so that nothing accumulates.
func (c *config) withAttempt(ctx context.Context, before int) context.Context {
	if !c.sendAttempt || before == 0 {
		return ctx
	}
	return metadata.AppendToOutgoingContext(ctx, AttemptKey, strconv.Itoa(before))
}
