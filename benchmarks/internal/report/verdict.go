package report

import (
	"fmt"
	"math"
	"strings"
)

// scale returns how much slower the run's machine was than that of the reference floor: the
// geometric mean over the floor benchmarks.
func (r *Results) scale() float64 {
	sum, n := 0.0, 0
	for _, f := range reference {
		if row := r.Find("Floor", f.name, 1); row != nil && row.NS() > 0 {
			sum += math.Log(row.NS() / f.ns)
			n++
		}
	}
	if n == 0 {
		return 1
	}
	return math.Exp(sum / float64(n))
}

// outcome is a job measured by its bar.
type outcome struct {
	job      Job
	us       *Row
	floor    *Row
	best     *Row   // the fastest peer; what is written by hand for one use is none
	theirs   *Row   // failsafe-go
	bar      string // in words
	missed   []string
	unproven bool // a contender the bar compares with was not in the run
}

// judge measures a job by its bar; nil if the run does not have it.
func (r *Results) judge(job Job, scale float64) *outcome {
	procs := max(job.Procs, 1)
	o := &outcome{
		job:    job,
		us:     r.Find(job.Name, ours, procs),
		floor:  r.Find("Floor", job.Floor, 1),
		theirs: r.Find(job.Name, failsafe, procs),
	}
	if o.us == nil {
		return nil
	}
	for _, row := range r.Of(job.Name, procs) {
		if isOurs(row) || row.Contender == job.Baseline || strings.HasPrefix(row.Contender, "hand-written") {
			continue
		}
		if o.best == nil || row.NS() < o.best.NS() {
			o.best = row
		}
	}
	var words []string
	if job.Bar.NS > 0 {
		words = append(words, fmt.Sprintf("≤ %s ns", figure(job.Bar.NS)))
		if o.us.NS() > job.Bar.NS*scale {
			o.missed = append(o.missed, fmt.Sprintf("%s × the time", figure(o.us.NS()/scale/job.Bar.NS)))
		}
	}
	for _, ratio := range job.Bar.Ratios {
		words = append(words, ratio.String())
		row := r.Find(job.Name, ratio.To, procs)
		switch {
		case row == nil:
			o.unproven = true
		case o.us.NS() > ratio.AtMost*row.NS():
			o.missed = append(o.missed, fmt.Sprintf("%s of %s", times(o.us.NS()/row.NS()), ratio.To))
		}
	}
	if job.Bar.Allocs >= 0 {
		words = append(words, r.judgeAllocs(o, procs))
	}
	o.bar = strings.Join(words, ", ")
	return o
}

// judgeAllocs returns the bar for allocations in words.
func (r *Results) judgeAllocs(o *outcome, procs int) string {
	allocs, than := o.us.Allocs(), ""
	if o.job.Baseline != "" {
		than = " more than " + o.job.Baseline
		if base := r.Find(o.job.Name, o.job.Baseline, procs); base != nil {
			allocs -= base.Allocs()
		} else {
			o.unproven = true
		}
	}
	if allocs > o.job.Bar.Allocs {
		o.missed = append(o.missed, fmt.Sprintf("%d allocations%s", allocs, than))
	}
	if o.job.Bar.Allocs == 0 {
		return "no allocation" + than
	}
	return fmt.Sprintf("≤ %d alloc%s", o.job.Bar.Allocs, than)
}

func (q Ratio) String() string {
	if q.AtMost < 1 {
		return fmt.Sprintf("≤ 1/%.0f of %s", 1/q.AtMost, q.To)
	}
	return fmt.Sprintf("≤ %g × %s", q.AtMost, q.To)
}

func (o *outcome) verdict() string {
	switch {
	case len(o.missed) > 0:
		return "**missed**: " + strings.Join(o.missed, ", ")
	case o.unproven:
		return "not measured"
	default:
		return "met"
	}
}

// isOurs reports whether the contender is one of this module's.
func isOurs(row *Row) bool {
	return row.Contender == ours || strings.HasPrefix(row.Contender, ours+",")
}

// figure writes a number with the digits that mean something.
func figure(v float64) string {
	switch {
	case v >= 100:
		return group(fmt.Sprintf("%.0f", v))
	case v >= 10:
		return strings.TrimSuffix(fmt.Sprintf("%.1f", v), ".0")
	default:
		return strings.TrimSuffix(fmt.Sprintf("%.2f", v), ".00")
	}
}

// group separates the thousands.
func group(digits string) string {
	for i := len(digits) - 3; i > 0; i -= 3 {
		digits = digits[:i] + "," + digits[i:]
	}
	return digits
}

func times(v float64) string { return figure(v) + " ×" }
