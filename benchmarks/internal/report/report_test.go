package report

import (
	"encoding/xml"
	"fmt"
	"io"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"
)

// A machine half as fast as the reference, on which the chain meets its bars, the open breaker
// is too slow, and the hedge allocates too much. It marks no rounds.
const output = `go: go1.26.8
date: 2 January 2026
goos: linux
cpu: A Processor
BenchmarkFloor/clock         	 100	 54 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/clock         	 100	 55 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/clock         	 100	 900 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/clock_+_CAS   	 100	 62 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/goroutine_+_channel 	 100	 860 ns/op	 0 B/op	 0 allocs/op
BenchmarkFloor/context.WithTimeout 	 100	 1060 ns/op	 272 B/op	 4 allocs/op
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
BenchmarkLayout/counter,_plain/1-2 	 100	 6 ns/op
BenchmarkLayout/counter,_plain/2-2 	 100	 20 ns/op
BenchmarkLayout/counter,_padded/2-2 	 100	 19 ns/op
BenchmarkLayout/counter,_8_shards_by_stack/1-2 	 100	 9 ns/op
BenchmarkLayout/counter,_8_shards_by_stack/2-2 	 100	 5 ns/op
BenchmarkMemory/retry/thole  	 1	 9 ns/op	 496 B/instance
BenchmarkMemory/retry/avast  	 1	 9 ns/op	 248 B/instance
PASS
`

func parse(t *testing.T, output string) *Results {
	r, err := Parse(strings.NewReader(output))
	require.NoError(t, err)
	return r
}

// judged returns the outcome of a job in the output.
func judged(t *testing.T, output, name string) *outcome {
	r := parse(t, output)
	for _, job := range jobs {
		if job.Name == name {
			o := r.judge(job)
			require.NotNil(t, o)
			return o
		}
	}
	require.Fail(t, "no such job", name)
	return nil
}

func TestParse(t *testing.T) {
	r := parse(t, output)
	assert.Equal(t, "A Processor", r.Config["cpu"])
	assert.Zero(t, r.Rounds)
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
	_, err = Parse(strings.NewReader("round: many\n"))
	assert.Error(t, err)
}

func TestParse_tellsRoundsApart(t *testing.T) {
	r := parse(t, "round: 1\nBenchmarkX/a 1 10 ns/op\nBenchmarkX/a 1 20 ns/op\nround: 2\nBenchmarkX/a 1 40 ns/op\nBenchmarkX/floor,_clock 1 9 ns/op\n")
	assert.Equal(t, 2, r.Rounds)
	assert.NotContains(t, r.Config, "round")
	assert.Equal(t, map[int]float64{1: 15, 2: 40}, r.Find("X", "a", 1).byRound())
	assert.Len(t, r.Of("X", 1), 1, "the yardstick is no contender")
}

func TestAllocs_nearlyOneIsOne(t *testing.T) {
	line := "BenchmarkX/a 1 10 ns/op 127 B/op 0 allocs/op\n"
	rounded := parse(t, line+line+line+strings.Repeat("BenchmarkX/a 1 10 ns/op 128 B/op 1 allocs/op\n", 2))
	assert.Equal(t, 1, rounded.Find("X", "a", 1).Allocs())
	spoiled := parse(t, line+line+line+line+"BenchmarkX/a 1 10 ns/op 500 B/op 9 allocs/op\n")
	assert.Equal(t, 0, spoiled.Find("X", "a", 1).Allocs())
}

func TestSpreadOf(t *testing.T) {
	assert.Equal(t, spread{20, 30, 40}, spreadOf([]float64{50, 10, 40, 20, 30}))
	assert.Equal(t, spread{17.5, 25, 32.5}, spreadOf([]float64{10, 20, 30, 40}))
	assert.Equal(t, spread{7, 7, 7}, spreadOf([]float64{7}))
	assert.Equal(t, spread{}, spreadOf(nil))
}

func TestJudge_bars(t *testing.T) {
	open := judged(t, output, "BreakerOpen")
	assert.Equal(t, []string{"1.50 × the time"}, open.missed)
	assert.Equal(t, 45.0, open.reference.mid)
	assert.Equal(t, "failsafe-go, permits alone", open.best.Contender)
	assert.Equal(t, []string{"5 allocations"}, judged(t, output, "HedgeQuiet").missed)
	chain := judged(t, output, "Chain")
	assert.Equal(t, "met: 1/15.4 of failsafe-go, 1/3.3 of hand-written, lean", chain.verdict())
	assert.Equal(t, "good libraries composed", chain.best.Contender)
	assert.Equal(t, "≤ 200 ns, ≤ 1/14 of failsafe-go, ≤ 1/3 of hand-written, lean, ≤ 1 alloc", chain.bar)
	assert.Equal(t, "met", judged(t, output, "Transport").verdict(), "8 more than bare")

	slower := strings.Replace(output, "390 ns/op", "440 ns/op", 1)
	assert.Equal(t, []string{"1.10 × the time", "1/13.6 of failsafe-go", "1/3 of hand-written, lean"}, judged(t, slower, "Chain").missed)
}

func TestJudge_unprovenWithoutYardstickOrContender(t *testing.T) {
	assert.Equal(t, "not measured", judged(t, strings.ReplaceAll(output, "Floor/clock_+_CAS", "Floor/other"), "Chain").verdict())
	assert.Equal(t, "not measured", judged(t, strings.ReplaceAll(output, "Chain/failsafe-go ", "Chain/other "), "Chain").verdict())
}

// rounds writes the output of a run whose rounds were so many times slower than the reference
// machine, each contender taking so many ns there.
func rounds(slow []float64, contenders map[string]float64) string {
	var b strings.Builder
	for i, factor := range slow {
		fmt.Fprintf(&b, "round: %d\n", i+1)
		for name, ns := range contenders {
			fmt.Fprintf(&b, "BenchmarkChain/%s \t 100 \t %g ns/op \t 80 B/op \t 1 allocs/op\n", name, ns*factor)
		}
	}
	return b.String()
}

// drifts are machines: a steady one, those that were slower for a round, for half of the run, or
// ever more, and one that is twice as slow throughout.
var drifts = map[string][]float64{
	"steady":       {1, 1, 1, 1, 1},
	"one round":    {1, 2, 1, 1, 1},
	"half the run": {1, 1, 2, 2, 2},
	"ever slower":  {1, 1.2, 1.4, 1.7, 2},
	"slow":         {2, 2, 2, 2, 2},
}

func TestJudge_driftChangesNoVerdict(t *testing.T) {
	contenders := map[string]float64{"floor,_clock_+_CAS": 31, "thole": 195, "failsafe-go": 14.5 * 195, "hand-written,_lean": 3.2 * 195}
	for name, slow := range drifts {
		t.Run(name, func(t *testing.T) {
			o := judged(t, rounds(slow, contenders), "Chain")
			assert.Equal(t, "met: 1/14.5 of failsafe-go, 1/3.2 of hand-written, lean", o.verdict())
			assert.InDelta(t, 195, o.reference.mid, 1e-9)
			assert.InDelta(t, 0, o.reference.high-o.reference.low, 1e-9, "no drift is left")
			assert.InDelta(t, 195/31.0, o.us.over(o.floor).mid, 1e-9)
		})
	}
}

func TestJudge_trulySlowerMisses(t *testing.T) {
	contenders := map[string]float64{"floor,_clock_+_CAS": 31, "thole": 210, "failsafe-go": 13 * 210, "hand-written,_lean": 2.5 * 210}
	for name, slow := range drifts {
		t.Run(name, func(t *testing.T) {
			o := judged(t, rounds(slow, contenders), "Chain")
			assert.Equal(t, "**missed**: 1.05 × the time, 1/13 of failsafe-go, 1/2.5 of hand-written, lean", o.verdict())
		})
	}
}

// A neighbour that disturbs contenders within a round, and not the yardstick, spoils few rounds.
func TestJudge_spoiledSamplesAreOutvoted(t *testing.T) {
	steady := rounds([]float64{1, 1, 1, 1, 1}, map[string]float64{"floor,_clock_+_CAS": 31, "thole": 190, "failsafe-go": 2800, "hand-written,_lean": 600})
	spoiled := strings.Replace(steady, "190 ns/op", "380 ns/op", 1)
	spoiled = strings.Replace(spoiled, " 31 ns/op", " 25 ns/op", 1)
	require.NotEqual(t, steady, spoiled)
	o := judged(t, spoiled, "Chain")
	assert.Empty(t, o.missed)
	assert.InDelta(t, 190, o.reference.mid, 1e-9)
}

func TestJudge_saysWhenTheBarLiesWithinTheSpread(t *testing.T) {
	noisy := rounds([]float64{1}, map[string]float64{"floor,_clock_+_CAS": 31, "failsafe-go": 20 * 198, "hand-written,_lean": 4 * 198})
	for _, ns := range []int{150, 190, 198, 210, 260} {
		noisy += fmt.Sprintf("BenchmarkChain/thole \t 100 \t %d ns/op \t 80 B/op \t 1 allocs/op\n", ns)
	}
	o := judged(t, noisy, "Chain")
	assert.Equal(t, spread{190, 198, 210}, o.reference)
	assert.Equal(t, "met: 1/20 of failsafe-go, 1/4 of hand-written, lean; close", o.verdict())
	ratio := rounds([]float64{1, 1, 1}, map[string]float64{"thole": 100, "context.WithTimeout": 90})
	ratio = strings.ReplaceAll(strings.Replace(ratio, "90 ns/op", "70 ns/op", 1), "BenchmarkChain", "BenchmarkTimeoutDone")
	assert.Equal(t, "met: 1.11 × context.WithTimeout (1.11–1.27); close", judged(t, ratio, "TimeoutDone").verdict())
}

func TestJudge_floorOfTheJobGoesBeforeThatOfTheRun(t *testing.T) {
	own := output + "BenchmarkBreakerOpen/floor,_clock 1 82.5 ns/op\n"
	assert.Equal(t, 30.0, judged(t, own, "BreakerOpen").reference.mid)
	assert.Empty(t, judged(t, own, "BreakerOpen").missed)
}

func TestNormalised_roundWithoutYardstickGoesByTheOthers(t *testing.T) {
	r := parse(t, "round: 1\nBenchmarkX/a 1 100 ns/op\nBenchmarkX/b 1 50 ns/op\nround: 2\nBenchmarkX/a 1 100 ns/op\n")
	assert.Equal(t, spread{20, 20, 20}, r.Find("X", "a", 1).normalised(r.Find("X", "b", 1), 10))
}

func TestYardstick(t *testing.T) {
	assert.Equal(t, "clock + CAS", Yardstick("Chain"))
	assert.Equal(t, "atomic add", Yardstick("RetryFirst"), "not the floor, a direct call")
	assert.Empty(t, Yardstick("HTTPClient"), "its bar is a ratio")
}

func TestJobs_areComplete(t *testing.T) {
	floors := map[string]bool{"direct call": true}
	for _, f := range reference {
		floors[f.name] = true
	}
	for _, job := range jobs {
		assert.True(t, floors[job.Floor], "%s: floor %q", job.Name, job.Floor)
		assert.NotEmpty(t, job.Why, "%s: where the time goes", job.Name)
		if job.Bar.NS > 0 {
			assert.NotZero(t, referenceOf(job.yardstick()), "%s: yardstick %q", job.Name, job.yardstick())
		}
	}
}

func TestWritePage(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WritePage(&b, parse(t, output)))
	page := b.String()
	for _, want := range []string{
		"go1.26.8 on A Processor, 2 January 2026",
		"## Bars: 2 of 4 met",
		"| breaker open, rejecting | 90 | 45 | 45–45 | clock | ≤ 30 ns, no allocation | **missed**: 1.50 × the time |",
		"| breaker open, rejecting | 90 | 0 | 0 | 1.64 × clock | failsafe-go, permits alone 45 | 2 × | 10 × |",
		"- **breaker open, rejecting**:",
		"| clock | 55 | 54.5–478 | 27.5 | 2 × |",
		"| good libraries composed | 1,600 | 392 | 7 | 4.10 × |  |",
		"| timeout → retry → breaker → bulkhead → limiter | thole | 400 (400–400) | 500 (300–700) | 1 |",
		"| keyed limiter | 75 |",
		"| counter, plain | 6 | 20 |",
		"|  | avast | 248 | 0.50 × |",
		"- A **counter** of two goroutines: padding it changes less than a tenth, sharding it by the stack saves 75 %, by lot was not measured.",
		"Of one: padding it was not measured, sharding it by the stack costs 50 % more",
	} {
		assert.Contains(t, page, want)
	}
	assert.NotContains(t, page, "- **hedge, none fired**: not looked")
	assert.NotContains(t, page, "NaN")
}

func TestWritePage_ofAFewJobsHasNoEmptyTables(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WritePage(&b, parse(t, "BenchmarkBreakerOpen/thole 1 30 ns/op\n")))
	assert.Contains(t, b.String(), "## Bars: 0 of 1 met", "without a yardstick")
	for _, absent := range []string{"## The floor", "## In parallel", "## Keys", "## Padding", "## Memory", "NaN"} {
		assert.NotContains(t, b.String(), absent)
	}
}

func TestWritePage_warnsIfThereWereNoTwoProcessors(t *testing.T) {
	page := func(clock, add int) string {
		var b strings.Builder
		require.NoError(t, WritePage(&b, parse(t, output+fmt.Sprintf(`BenchmarkParallelFloor/clock 1 30 ns/op
BenchmarkParallelFloor/clock-2 1 %d ns/op
BenchmarkParallelFloor/atomic_add 1 6 ns/op
BenchmarkParallelFloor/atomic_add-2 1 %d ns/op
`, clock, add))))
		return b.String()
	}
	assert.Contains(t, page(30, 6), "did not have two processors to themselves")
	assert.Contains(t, page(16, 6), "shared a core and its cache")
	two := page(16, 13)
	assert.NotContains(t, two, "did not have two processors to themselves")
	assert.NotContains(t, two, "shared a core and its cache")
}

func TestWriteChart_isXML(t *testing.T) {
	var b strings.Builder
	require.NoError(t, WriteChart(&b, parse(t, output)))
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
