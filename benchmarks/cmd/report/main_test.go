package main

import (
	"testing"

	"github.com/stretchr/testify/assert"
)

func TestWithoutWarmUps(t *testing.T) {
	assert.Equal(t, `goos: linux
BenchmarkA/x         	 100	 2 ns/op
BenchmarkA/xy	 100	 4 ns/op
BenchmarkA/x-2       	 100	 6 ns/op
BenchmarkA/x-2       	 100	 7 ns/op
PASS
`, string(withoutWarmUps([]byte(`goos: linux
BenchmarkA/x         	 100	 1 ns/op
BenchmarkA/x         	 100	 2 ns/op
BenchmarkA/xy	 100	 3 ns/op
BenchmarkA/xy	 100	 4 ns/op
BenchmarkA/x-2       	 100	 5 ns/op
BenchmarkA/x-2       	 100	 6 ns/op
BenchmarkA/x-2       	 100	 7 ns/op
PASS
`))))
}
