// Package tholehttp puts policies of package thole around net/http: around an http.Client by
// [NewTransport], around an http.Handler by [NewHandler]. It works with any thole.Policy.
//
// # A client
//
//	client := &http.Client{Transport: tholehttp.NewTransport(nil, standard.Client(), tholehttp.TransportConfig{})}
//	resp, err := client.Get("https://example.com/")
//
// The client is used as before. What changes is when requests are sent, and how often. The
// policies see each attempt as a function that returns an error: nil for an answer, a
// [*StatusError] for a response such as 503, and the error of the transport if there was no
// response. What they return is turned back into what net/http expects, so a 503 that was
// not to be mended by another attempt is a response again. [Transport] says it all.
//
// Which responses are failures is decided here, at the edge, and not by the policies:
// TransportConfig.Outcome changes it for all of them at once.
//
//	tholehttp.TransportConfig{Outcome: func(resp *http.Response, err error) thole.Outcome {
//		if err == nil && resp.StatusCode == http.StatusNotFound {
//			return thole.Failure // this one should always be there
//		}
//		return tholehttp.DefaultOutcome(resp, err)
//	}}
//
// Requests that are not repeatable are sent once whatever the policies are. Say of a POST
// that it may be repeated by an Idempotency-Key header, or for all by TransportConfig.Repeatable.
//
// # A server
//
//	http.Handle("/", tholehttp.NewHandler(app, standard.Server(100), tholehttp.HandlerConfig{}))
//
// A call which the policies refuse is answered with 429 or 503 and a Retry-After header, and
// the handler's own 5xx responses are what the policies take for failures.
package tholehttp
