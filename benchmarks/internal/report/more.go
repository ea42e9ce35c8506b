package report

import (
	"slices"
	"strconv"
	"strings"
)

// parallel lists what was run on one and on two processors.
func (p *page) parallel() {
	if !p.ran(func(row *Row) bool { return strings.HasPrefix(row.Job, "Parallel") }) {
		return
	}
	p.say("## In parallel\n")
	p.say("One instance, as many threads as processors; ns of wall time per call, with the least and the")
	p.say("greatest sample, since two threads on one word are bimodal.\n")
	p.table("job", "contender", "1 thread", "2 threads", "allocs")
	last := ""
	for _, row := range p.r.Rows {
		if !strings.HasPrefix(row.Job, "Parallel") || row.Procs != 1 || row.isYardstick() {
			continue
		}
		title := ""
		if row.Job != last {
			title, last = parallelTitle(row.Job), row.Job
		}
		two := "–"
		if other := p.r.Find(row.Job, row.Contender, 2); other != nil {
			two = withRange(other)
		}
		p.row(title, row.Contender, withRange(row), two, strconv.Itoa(row.Allocs()))
	}
	p.say("")
	p.warnOfOneProcessor()
}

// ran reports whether the run has a row like that.
func (p *page) ran(like func(*Row) bool) bool { return slices.ContainsFunc(p.r.Rows, like) }

func withRange(row *Row) string {
	low, high := row.Range("ns/op")
	return figure(row.NS()) + " (" + figure(low) + "–" + figure(high) + ")"
}

// parallelTitle returns the title of the job that a parallel benchmark is of.
func parallelTitle(name string) string {
	of := strings.TrimPrefix(name, "Parallel")
	if of == "Floor" {
		return "floor"
	}
	for _, job := range jobs {
		if job.Name == of || job.Name == name {
			return job.Title
		}
	}
	return of
}

// scaling lists how the cost grows with goroutines and with keys.
func (p *page) scaling() {
	p.grid("ScalingGoroutines", "## Goroutines on one instance", "policy",
		"ns of wall time per call, on two processors.")
	p.grid("ScalingKeys", "## Keys", "policy",
		"ns per call of one goroutine that uses so many keys in turn.")
}

// grid lays rows named "policy/number" out as a table.
func (p *page) grid(job, title, corner, text string) {
	var rows, columns []string
	cells := map[string]*Row{}
	for _, row := range p.r.Rows {
		if row.Job != job {
			continue
		}
		name, n, _ := strings.Cut(row.Contender, "/")
		if !slices.Contains(rows, name) {
			rows = append(rows, name)
		}
		if !slices.Contains(columns, n) {
			columns = append(columns, n)
		}
		cells[name+"/"+n] = row
	}
	if len(rows) == 0 {
		return
	}
	p.say("%s\n\n%s\n", title, text)
	head := []string{corner}
	for _, n := range columns {
		head = append(head, group(n))
	}
	p.table(head...)
	for _, name := range rows {
		line := []string{name}
		for _, n := range columns {
			if row := cells[name+"/"+n]; row != nil {
				line = append(line, figure(row.NS()))
			} else {
				line = append(line, "–")
			}
		}
		p.row(line...)
	}
	p.say("")
}

// memory lists what an idle instance takes.
func (p *page) memory() {
	if !p.ran(func(row *Row) bool { return row.Job == "Memory" }) {
		return
	}
	p.say("## Memory of an idle instance\n")
	p.say("Live heap bytes for each of ten thousand.\n")
	p.table("", "contender", "B", "of ours")
	us, last := 0.0, ""
	for _, row := range p.r.Rows {
		if row.Job != "Memory" {
			continue
		}
		i := strings.IndexByte(row.Contender, '/')
		what, contender := row.Contender[:i], row.Contender[i+1:]
		bytes := row.Median("B/instance")
		if contender == ours {
			us = bytes
		}
		title := ""
		if what != last {
			title, last = what, what
		}
		p.row(title, contender, figure(bytes), times(bytes/us))
	}
	p.say("")
}
