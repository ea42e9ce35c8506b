module github.com/thole-go/thole/benchmarks

go 1.26.0

require github.com/thole-go/thole v0.0.0

replace github.com/thole-go/thole => ../

replace github.com/thole-go/thole/tholegrpc => ../tholegrpc
