package report

import (
	"encoding/xml"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A machine half as fast as the reference, on which the chain meets its bars, the open breaker
// is too slow, and the hedge allocates too much.
const sample = `go: go1.26.8
date: 2 January 2026
goos: linux
cpu: A Processor
BenchmarkFloor/clock         	 100	 54 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/clock         	 100	 55 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/clock         	 100	 900 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/mutex         	 100	 24 ns/op	 0 B/op	 0 allocs/op
BenchmarkBreakerOpen/thole   	 100	 90 ns/op	 0 B/op	 0 allocs/op
BenchmarkBreakerOpen/failsafe-go,_permits_alone 	 100	 45 ns/op	 0 B/op	 0 allocs/op
BenchmarkBreakerOpen/failsafe-go 	 100	 900 ns/op	 0 B/op	 0 allocs/op
BenchmarkHedgeQuiet/thole    	 100	 900 ns/op	 0 B/op	 5 allocs/op
BenchmarkChain/thole         	 100	 390 ns/op	 80 B/op	 1 allocs/op
BenchmarkChain/failsafe-go   	 100	 6000 ns/op	 1800 B/op	 35 allocs/op
BenchmarkChain/hand-written,_lean 	 100	 1300 ns/op	 272 B/op	 4 allocs/op
BenchmarkChain/good_libraries_composed 	 100	 1600 ns/op	 392 B/op	 7 allocs/op
BenchmarkTransport/thole     	 100	 900 ns/op	 900 B/op	 9 allocs/op
BenchmarkTransport/bare      	 100	 150 ns/op	 144 B/op	 1 allocs/op
BenchmarkParallelChain/thole 	 100	 400 ns/op	 80 B/op	 1 allocs/op
BenchmarkParallelChain/thole-2 	 100	 300 ns/op	 80 B/op	 1 allocs/op
BenchmarkParallelChain/thole-2 	 100	 700 ns/op	 80 B/op	 1 allocs/op
BenchmarkScalingKeys/keyed_limiter/10000-2 	 100	 75 ns/op
BenchmarkMemory/retry/thole  	 1	 9 ns/op	 496 B/instance
BenchmarkMemory/retry/avast  	 1	 9 ns/op	 248 B/instance
PASS
`

func parse(t *testing.T) *Results {
	r, err := Parse(strings.NewReader(sample))
	require.NoError(t, err)
	return r
}

func TestParse(t *testing.T) {
	r := parse(t)
	assert.Equal(t, "A Processor", r.Config["cpu"])
	clock := r.Find("Floor", "clock", 1)
	assert.Equal(t, 55.0, clock.NS(), "the median")
	assert.Equal(t, 3, clock.Samples())
	two := r.Find("ParallelChain", ours, 2)
	assert.Equal(t, 500.0, two.NS())
	low, high := two.Range("ns/op")
	assert.Equal(t, []float64{300, 700}, []float64{low, high})
	assert.Equal(t, 1, two.Allocs())
	assert.NotNil(t, r.Find("BreakerOpen", "failsafe-go, permits alone", 1))

	_, err := Parse(strings.NewReader("BenchmarkX 100 many ns/op\n"))
	assert.Error(t, err)
}

func TestJudge_bars(t *testing.T) {
	r := parse(t)
	assert.InDelta(t, 2, r.scale(), 1e-9)
	verdicts := map[string]*outcome{}
	for _, job := range jobs {
		if o := r.judge(job, r.scale()); o != nil {
			verdicts[job.Name] = o
		}
	}
	assert.Equal(t, []string{"1.50 × the time"}, verdicts["BreakerOpen"].missed)
	assert.Equal(t, "failsafe-go, permits alone", verdicts["BreakerOpen"].best.Contender)
	assert.Equal(t, []string{"5 allocations"}, verdicts["HedgeQuiet"].missed)
	assert.Equal(t, "met", verdicts["Chain"].verdict())
	assert.Equal(t, "good libraries composed", verdicts["Chain"].best.Contender)
	assert.Equal(t, "≤ 200 ns, ≤ 1/14 of failsafe-go, ≤ 1/3 of hand-written, lean, ≤ 1 alloc", verdicts["Chain"].bar)
	assert.Equal(t, "met", verdicts["Transport"].verdict(), "8 more than bare")

	slower := strings.Replace(sample, "390 ns/op", "440 ns/op", 1)
	r, err := Parse(strings.NewReader(slower))
	require.NoError(t, err)
	for _, job := range jobs {
		if job.Name == "Chain" {
			assert.Equal(t, []string{"1.10 × the time", "0.07 × of failsafe-go", "0.34 × of hand-written, lean"}, r.judge(job, 2).missed)
		}
	}
}

func TestJobs_areComplete(t *testing.T) {
	floors := map[string]bool{"direct call": true}
	for _, f := range reference {
		floors[f.name] = true
	}
	for _, job := range jobs {
		assert.True(t, floors[job.Floor], "%s: floor %q", job.Name, job.Floor)
		assert.NotEmpty(t, job.Why, "%s: where the time goes", job.Name)
	}
}

func TestWritePage(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WritePage(&b, parse(t)))
	page := b.String()
	for _, want := range []string{
		"go1.26.8 on A Processor, 2 January 2026",
		"## Bars: 2 of 4 met",
		"| breaker open, rejecting | 90 | 0 | 0 | 1.64 × clock | failsafe-go, permits alone 45 | 2 × | 10 × | ≤ 30 ns, no allocation | **missed**: 1.50 × the time |",
		"- **breaker open, rejecting**:",
		"| clock | 55 | 27.5 | 2 × |",
		"| good libraries composed | 1,600 | 392 | 7 | 4.10 × |  |",
		"| timeout → retry → breaker → bulkhead → limiter | thole | 400 (400–400) | 500 (300–700) | 1 |",
		"| keyed limiter | 75 |",
		"|  | avast | 248 | 0.50 × |",
	} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "- **hedge, none fired**: not looked")
	assert.NotContains(t, page, "NaN")
}

func TestWriteChart_isXML(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WriteChart(&b, parse(t)))
	d := xml.NewDecoder(strings.NewReader(b.String()))
	rects := 0
	for {
		token, err := d.Token()
		if err == io.EOF {
			break
		}
		require.NoError(t, err)
		if e, ok := token.(xml.StartElement); ok && e.Name.Local == "rect" {
			rects++
		}
	}
	assert.Equal(t, 1+4+2, rects, "the card, the chain's bars, the breaker's")
}
