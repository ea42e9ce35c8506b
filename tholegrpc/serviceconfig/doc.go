// Package serviceconfig makes policies of a gRPC service config, the JSON by which gRPC is
// told of timeouts and retries:
//
//	cfg, err := serviceconfig.Parse(`{
//		"methodConfig": [{
//			"name": [{"service": "shop.Cart"}],
//			"timeout": "2s",
//			"hedgingPolicy": {"maxAttempts": 3, "hedgingDelay": "0.1s", "nonFatalStatusCodes": ["UNAVAILABLE"]}
//		}]
//	}`)
//	...
//	conn, err := grpc.NewClient(target, append(cfg.DialOptions(), creds)...)
//
// What gRPC does itself is then done by policies, and what it does not, hedging, is done
// too. [Config.DialOptions] switches gRPC's own retries off; otherwise the attempts of both
// would multiply. To put a breaker around each attempt, chain another interceptor after it.
//
// # What becomes of what
//
//   - timeout: a timeout policy around the whole call, or stream.
//   - retryPolicy: a retry policy. As in gRPC, maxAttempts above 5 count as 5, the delay before
//     the nth retry is min(initialBackoff·backoffMultiplierⁿ⁻¹, maxBackoff) ± 20 %, the codes
//     listed and no others are retried, and a server's pushback is obeyed. Listing them says
//     that the methods named may be repeated. A stream is tried again only as long as it
//     could not be established.
//   - hedgingPolicy (gRFC A6; grpc-go has none and ignores it): a hedge policy, for unary
//     methods. maxAttempts above 5 count as 5. A status that is not listed as non-fatal ends
//     the call at once; after one that is, the other attempts go on, but the next is not
//     brought forward.
//   - retryThrottling: as in gRPC, one count of tokens for all methods. An attempt that fails
//     with a code that its method lists takes one, a call that succeeds adds tokenRatio, and
//     at half of maxTokens and below nothing is retried, or hedged. Without it nothing bounds
//     the retries, as in gRPC: prefer to have it.
//
// waitForReady, the limits on message sizes, and all that is for load balancing are checked
// and otherwise left to gRPC, which has no need of help there.
package serviceconfig
