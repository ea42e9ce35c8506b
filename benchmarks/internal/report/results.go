// Package report turns the output of the benchmarks into a page of results and a chart.
package report

import (
	"bufio"
	"fmt"
	"io"
	"math"
	"slices"
	"strconv"
	"strings"
)

// Results are the samples of one or more runs of the benchmarks.
type Results struct {
	Config map[string]string // what the run says of itself: cpu, go, date
	Rows   []*Row            // in the order in which they were first seen
	Rounds int               // the number of the last round; 0 if the run marks none
	byName map[rowKey]*Row
}

// Row is what was measured of one contender in one job.
type Row struct {
	Job       string // "BreakerOpen"
	Contender string // "failsafe-go, permits alone"
	Procs     int    // processors the run was given
	samples   map[string][]sample
}

// sample is one value of one unit, and the round it was taken in.
type sample struct {
	round int
	value float64
}

type rowKey struct {
	job, contender string
	procs          int
}

// Parse reads the output of go test -bench. A line "round: 7" begins a round: what follows was
// measured within seconds. Without such lines all is one round. Lines it doesn't know it skips.
func Parse(r io.Reader) (*Results, error) {
	res := &Results{Config: map[string]string{}, byName: map[rowKey]*Row{}}
	lines := bufio.NewScanner(r)
	for lines.Scan() {
		line := lines.Text()
		if !strings.HasPrefix(line, "Benchmark") {
			if err := res.configure(line); err != nil {
				return nil, fmt.Errorf("report: %q: %w", line, err)
			}
			continue
		}
		if err := res.add(strings.Fields(line)); err != nil {
			return nil, fmt.Errorf("report: %q: %w", line, err)
		}
	}
	return res, lines.Err()
}

// configure takes a line that is no benchmark's.
func (r *Results) configure(line string) (err error) {
	key, value, ok := strings.Cut(line, ": ")
	if !ok || strings.ContainsAny(key, " \t") {
		return nil
	}
	value = strings.TrimSpace(value)
	if key == "round" {
		r.Rounds, err = strconv.Atoi(value)
		return err
	}
	r.Config[key] = value
	return nil
}

// add takes the fields of one line: name, iterations, and then values with their units.
func (r *Results) add(fields []string) error {
	if len(fields) < 4 || len(fields)%2 != 0 {
		return nil // the bare name that -v prints first
	}
	row := r.row(splitName(fields[0]))
	for i := 2; i < len(fields); i += 2 {
		v, err := strconv.ParseFloat(fields[i], 64)
		if err != nil {
			return err
		}
		unit := fields[i+1]
		row.samples[unit] = append(row.samples[unit], sample{r.Rounds, v})
	}
	return nil
}

// splitName takes "BenchmarkJob/some_contender-2" apart.
func splitName(name string) rowKey {
	key := rowKey{procs: 1}
	name = strings.TrimPrefix(name, "Benchmark")
	if i := strings.LastIndexByte(name, '-'); i >= 0 {
		if n, err := strconv.Atoi(name[i+1:]); err == nil {
			name, key.procs = name[:i], n
		}
	}
	key.job, key.contender, _ = strings.Cut(name, "/")
	key.contender = strings.ReplaceAll(key.contender, "_", " ")
	return key
}

func (r *Results) row(key rowKey) *Row {
	row := r.byName[key]
	if row == nil {
		row = &Row{Job: key.job, Contender: key.contender, Procs: key.procs, samples: map[string][]sample{}}
		r.byName[key] = row
		r.Rows = append(r.Rows, row)
	}
	return row
}

// Find returns a row, or nil.
func (r *Results) Find(job, contender string, procs int) *Row {
	return r.byName[rowKey{job, contender, procs}]
}

// Of returns the rows of a job, in the order in which they ran, without its yardstick.
func (r *Results) Of(job string, procs int) []*Row {
	var rows []*Row
	for _, row := range r.Rows {
		if row.Job == job && row.Procs == procs && !row.isYardstick() {
			rows = append(rows, row)
		}
	}
	return rows
}

// yardstickPrefix begins the name of the floor benchmark that runs within a job's.
const yardstickPrefix = "floor, "

func (r *Row) isYardstick() bool { return strings.HasPrefix(r.Contender, yardstickPrefix) }

// values returns a unit's samples.
func (r *Row) values(unit string) []float64 {
	v := make([]float64, len(r.samples[unit]))
	for i, s := range r.samples[unit] {
		v[i] = s.value
	}
	return v
}

// Median returns the median of a unit's samples, 0 if there are none.
func (r *Row) Median(unit string) float64 { return median(r.values(unit)) }

// Range returns the least and the greatest sample.
func (r *Row) Range(unit string) (low, high float64) {
	v := r.values(unit)
	if len(v) == 0 {
		return 0, 0
	}
	return slices.Min(v), slices.Max(v)
}

// Samples returns how often the row was measured.
func (r *Row) Samples() int { return len(r.samples["ns/op"]) }

// NS returns the median time.
func (r *Row) NS() float64 { return r.Median("ns/op") }

// Allocs returns the number of allocations: the upper quartile, since what is a little less than
// one for each call, as the first call needed none, is put down as none.
func (r *Row) Allocs() int { return int(math.Round(spreadOf(r.values("allocs/op")).high)) }
