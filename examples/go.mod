module github.com/thole-go/thole/examples

go 1.25.0

require github.com/thole-go/thole v0.0.0

require github.com/cenkalti/backoff/v4 v4.3.0 // indirect

replace github.com/thole-go/thole => ../
