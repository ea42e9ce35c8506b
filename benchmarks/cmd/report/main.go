// Command report runs the benchmarks and writes what came of it: RESULTS.md, and the chart
// ../docs/benchmarks.svg.
//
//	go run ./cmd/report               run all, about six minutes, and write both files
//	go run ./cmd/report -raw FILE     write them from the output of an earlier run
//
// Start it in the directory of the benchmarks' module, on a machine that has nothing else to
// do. The output of the run is kept in raw.txt.
package main

import (
	"bytes"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/thole-go/thole/benchmarks/internal/report"
)

func main() {
	raw := flag.String("raw", "", "take the results from this `file` instead of running the benchmarks")
	keep := flag.String("keep", "raw.txt", "keep the output of the run in this `file`")
	page := flag.String("page", "RESULTS.md", "write the page to this `file`")
	chart := flag.String("chart", filepath.Join("..", "docs", "benchmarks.svg"), "write the chart to this `file`")
	rounds := flag.Int("rounds", 40, "how often to go through all benchmarks")
	benchtime := flag.Duration("benchtime", 10*time.Millisecond, "how long a sample takes")
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

// pass is a set of benchmarks that are run alike: those whose names begin so, and of which no
// earlier pass took hold.
type pass struct {
	prefix    string
	cpu       string
	benchtime string
	every     int // it runs in one of so many rounds
	count     int // samples a round; of two the first warms up
}

func passes(rounds int, benchtime time.Duration) []pass {
	b := benchtime.String()
	return []pass{
		{prefix: "BenchmarkParallel", cpu: "1,2", benchtime: b, every: 2, count: 2},
		{prefix: "BenchmarkScaling", cpu: "2", benchtime: b, every: 5, count: 2},
		{prefix: "BenchmarkLayout", cpu: "2", benchtime: b, every: 4, count: 2},
		{prefix: "BenchmarkMemory", cpu: "1", benchtime: "1x", every: rounds, count: 1},
		{prefix: "Benchmark", cpu: "1", benchtime: b, every: 1, count: 2},
	}
}

// measure builds the benchmarks once, tests that the contenders do their jobs, and takes a short
// sample of each contender in turn, in many rounds: what disturbs the machine for a moment spoils
// a sample of many, and what disturbs it for a while falls on all of a round alike.
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
	all, err := calls(binary, only, passes(rounds, benchtime))
	if err != nil {
		return err
	}
	out, err := os.Create(keep)
	if err != nil {
		return err
	}
	defer out.Close()
	fmt.Fprintf(out, "go: %s\ndate: %s\n", runtime.Version(), time.Now().UTC().Format("2 January 2006"))
	start := time.Now()
	for round := range rounds {
		fmt.Fprintf(os.Stderr, "round %d of %d, after %v\n", round+1, rounds, time.Since(start).Round(time.Second))
		fmt.Fprintf(out, "round: %d\n", round+1)
		for _, c := range all {
			if round%c.every != 0 {
				continue
			}
			if err := c.sample(out, binary); err != nil {
				return err
			}
		}
	}
	return out.Close()
}

// call is a pass with the arguments that the benchmarks are run with.
type call struct {
	pass
	args []string
}

// calls shares the benchmarks that match only out to the passes.
func calls(binary, only string, passes []pass) ([]call, error) {
	top, sub, _ := strings.Cut(only, "/")
	var list bytes.Buffer
	if err := run(&list, binary, "-test.list="+top); err != nil {
		return nil, err
	}
	names := make([][]string, len(passes))
	for name := range strings.FieldsSeq(list.String()) {
		if i := slices.IndexFunc(passes, func(p pass) bool { return strings.HasPrefix(name, p.prefix) }); i >= 0 {
			names[i] = append(names[i], name)
		}
	}
	var all []call
	for i, p := range passes {
		if len(names[i]) == 0 {
			continue
		}
		pattern := "^(" + strings.Join(names[i], "|") + ")$"
		if sub != "" {
			pattern += "/" + sub
		}
		all = append(all, call{p, []string{
			"-test.run=^$", "-test.bench=" + pattern, "-test.benchmem",
			"-test.cpu=" + p.cpu, "-test.benchtime=" + p.benchtime, "-test.count=" + strconv.Itoa(p.count),
		}})
	}
	return all, nil
}

// sample runs the benchmarks of a pass once.
func (c call) sample(out io.Writer, binary string) error {
	var b bytes.Buffer
	if err := run(&b, binary, c.args...); err != nil {
		return fmt.Errorf("%w\n%s", err, &b)
	}
	text := b.Bytes()
	if c.count > 1 {
		text = withoutWarmUps(text)
	}
	_, err := out.Write(text)
	return err
}

// withoutWarmUps returns the output of benchmarks without the first of each one's samples: it
// pays for memory that is not there yet, which may double what an allocation costs.
func withoutWarmUps(output []byte) []byte {
	var kept []byte
	last := ""
	for line := range bytes.Lines(output) {
		name := string(line[:max(bytes.IndexAny(line, " \t"), 0)])
		if !strings.HasPrefix(name, "Benchmark") || name == last {
			kept = append(kept, line...)
		}
		last = name
	}
	return kept
}

// run runs a command, whose output goes to w. Memory that is free it keeps until somebody else
// has need of it, so that the next sample does not pay for getting it anew.
func run(w io.Writer, name string, args ...string) error {
	cmd := exec.Command(name, args...)
	cmd.Stdout, cmd.Stderr = w, os.Stderr
	cmd.Env = append(os.Environ(), "GOWORK=off", "GODEBUG=madvdontneed=0")
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
