// Command report runs the benchmarks and writes what came of it: RESULTS.md, and the chart
// ../docs/benchmarks.svg.
//
//	go run ./cmd/report               run all, about seven minutes, and write both files
//	go run ./cmd/report -raw FILE     write them from the output of an earlier run
//
// Start it in the directory of the benchmarks' module, on a machine that has nothing else to
// do. The output of the run is kept in raw.txt.
package main

import (
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"time"

	"github.com/thole-go/thole/benchmarks/internal/report"
)

func main() {
	raw := flag.String("raw", "", "take the results from this `file` instead of running the benchmarks")
	keep := flag.String("keep", "raw.txt", "keep the output of the run in this `file`")
	page := flag.String("page", "RESULTS.md", "write the page to this `file`")
	chart := flag.String("chart", filepath.Join("..", "docs", "benchmarks.svg"), "write the chart to this `file`")
	rounds := flag.Int("rounds", 9, "how often to go through all benchmarks")
	benchtime := flag.Duration("benchtime", 25*time.Millisecond, "how long a sample takes")
	only := flag.String("only", ".", "run the benchmarks that match this `pattern`; all that the page needs match by default")
	flag.Parse()

	err := func() error {
		if *raw == "" {
			if err := measure(*keep, *only, *rounds, *benchtime); err != nil {
				return err
			}
			*raw = *keep
		}
		return write(*raw, *page, *chart)
	}()
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

// pass is a set of benchmarks that are run alike.
type pass struct {
	pattern, skip string
	cpu           string
	benchtime     string
	every         int // it runs in one of so many rounds
	count         int // samples a round
}

// measure builds the benchmarks once, tests that the contenders do their jobs, and takes many
// short samples of each in rounds: what disturbs the machine for a moment spoils a sample of
// many, and what disturbs it for a while falls on all alike.
func measure(keep, only string, rounds int, benchtime time.Duration) error {
	dir, err := os.MkdirTemp("", "thole-benchmarks")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	binary := filepath.Join(dir, "benchmarks.test")
	if err := run(os.Stderr, "go", "test", "-c", "-o", binary, "."); err != nil {
		return err
	}
	if err := run(os.Stderr, binary, "-test.count=1"); err != nil {
		return fmt.Errorf("a contender does not do its job: %w", err)
	}
	out, err := os.Create(keep)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintf(out, "go: %s\ndate: %s\n", runtime.Version(), time.Now().UTC().Format("2 January 2006"))
	passes := []pass{
		{pattern: only, skip: "^Benchmark(Parallel|Scaling|Memory)", cpu: "1", benchtime: benchtime.String(), every: 1, count: 5},
		{pattern: "^BenchmarkParallel", cpu: "1,2", benchtime: benchtime.String(), every: 2, count: 3},
		{pattern: "^BenchmarkScaling", cpu: "2", benchtime: benchtime.String(), every: 3, count: 3},
		{pattern: "^BenchmarkMemory", cpu: "1", benchtime: "1x", every: rounds, count: 1},
	}
	if only != "." {
		passes = passes[:1]
	}
	start := time.Now()
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d, after %v\n", round+1, rounds, time.Since(start).Round(time.Second))
		for _, p := range passes {
			if round%p.every != 0 {
				continue
			}
			args := []string{
				"-test.run=^$", "-test.bench=" + p.pattern, "-test.skip=" + p.skip, "-test.benchmem",
				"-test.cpu=" + p.cpu, "-test.benchtime=" + p.benchtime, "-test.count=" + strconv.Itoa(p.count),
			}
			if err := run(out, binary, args...); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// run runs a command, whose output goes to w.
func run(w io.Writer, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off")
	return cmd.Run()
}

// write makes the page and the chart of a run's output.
func write(raw, page, chart string) error {
	in, err := os.Open(raw)
	if err != nil {
		return err
	}
	defer in.Close()
	results, err := report.Parse(in)
	if err != nil {
		return err
	}
	if err := create(page, func(w io.Writer) error { return report.WritePage(w, results) }); err != nil {
		return err
	}
	return create(chart, func(w io.Writer) error { return report.WriteChart(w, results) })
}

func create(name string, fill func(io.Writer) error) error {
	f, err := os.Create(name)
	if err != nil {
		return err
	}
	defer f.Close()
	if err := fill(f); err != nil {
		return err
	}
	return f.Close()
}
