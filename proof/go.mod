module github.com/thole-go/thole/proof

go 1.25.0

require (
	github.com/anishathalye/porcupine v1.3.1
	github.com/thole-go/thole v0.0.0
	pgregory.net/rapid v1.3.0
)

require github.com/cenkalti/backoff/v4 v4.3.0 // indirect

replace github.com/thole-go/thole => ../
