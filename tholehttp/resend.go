package tholehttp

import "context"

type resendKey struct{}

type resendCtx struct {
	context.Context
	count int
}

func (c *resendCtx) Value(key any) any {
	if key == (resendKey{}) {
		return c
	}
	return c.Context.Value(key)
}

// ResendCount returns how many times a [Transport] has sent the request before, within the
// same call of RoundTrip, be it by a retry or a hedge: 0 on the first attempt. ctx is the
// context of the request that the base RoundTripper gets; it is what OpenTelemetry calls
// http.request.resend_count, as far as the transport can know. [thole.AttemptFrom] tells
// which of them it was, a retry or a hedge.
func ResendCount(ctx context.Context) int {
	if c, ok := ctx.Value(resendKey{}).(*resendCtx); ok {
		return c.count
	}
	return 0
}
