package report

import (
	"fmt"
	"strings"
)

// outcome is a job measured by its bar.
type outcome struct {
	job    Job
	us     *Row
	floor  *Row
	best   *Row // the fastest peer; what is written by hand for one use is none
	theirs *Row // failsafe-go

	reference spread   // our time, as it would be on the reference machine; 0 if the bar asks none
	bar       string   // in words
	measured  []string // the ratios the bar asks for
	missed    []string
	unproven  bool // what the bar compares with was not in the run
	close     bool // the bar lies between the quartiles of what was measured
}

// judge measures a job by its bar; nil if the run does not have it.
func (r *Results) judge(job Job) *outcome {
	procs := max(job.Procs, 1)
	o := &outcome{
		job:    job,
		us:     r.Find(job.Name, ours, procs),
		floor:  r.floorOf(job, job.Floor),
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
		r.judgeTime(o)
	}
	for _, ratio := range job.Bar.Ratios {
		words = append(words, ratio.String())
		r.judgeRatio(o, ratio, procs)
	}
	if job.Bar.Allocs >= 0 {
		words = append(words, r.judgeAllocs(o, procs))
	}
	o.bar = strings.Join(words, ", ")
	return o
}

// floorOf returns the floor benchmark of that name that ran within the job's, or else the one
// that ran by itself.
func (r *Results) floorOf(job Job, name string) *Row {
	if row := r.Find(job.Name, yardstickPrefix+name, max(job.Procs, 1)); row != nil {
		return row
	}
	return r.Find("Floor", name, 1)
}

func (r *Results) judgeTime(o *outcome) {
	yardstick := r.floorOf(o.job, o.job.yardstick())
	if yardstick == nil {
		o.unproven = true
		return
	}
	o.reference = o.us.normalised(yardstick, referenceOf(o.job.yardstick()))
	o.close = o.reference.holds(o.job.Bar.NS)
	if o.reference.mid > o.job.Bar.NS {
		o.missed = append(o.missed, fmt.Sprintf("%s the time", times(o.reference.mid/o.job.Bar.NS)))
	}
}

func (r *Results) judgeRatio(o *outcome, ratio Ratio, procs int) {
	row := r.Find(o.job.Name, ratio.To, procs)
	if row == nil {
		o.unproven = true
		return
	}
	got := o.us.over(row)
	o.close = o.close || got.holds(ratio.AtMost)
	said := part(got.mid, ratio)
	if got.low != got.high {
		said += " (" + between(got, func(v float64) string { return share(v, ratio) }) + ")"
	}
	if got.mid > ratio.AtMost {
		o.missed = append(o.missed, said)
	} else {
		o.measured = append(o.measured, said)
	}
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

func (q Ratio) String() string { return "≤ " + part(q.AtMost, q) }

// part writes how much v is of what the ratio compares with: as a fraction, "1/14 of …", if the
// bar is one, else as a multiple, "1.05 × …".
func part(v float64, q Ratio) string {
	if q.AtMost < 1 {
		return share(v, q) + " of " + q.To
	}
	return share(v, q) + " × " + q.To
}

func share(v float64, q Ratio) string {
	if q.AtMost < 1 {
		return "1/" + strings.TrimSuffix(fmt.Sprintf("%.1f", 1/v), ".0")
	}
	return figure(v)
}

// between writes the quartiles.
func between(s spread, write func(float64) string) string {
	return write(s.low) + "–" + write(s.high)
}

func (o *outcome) verdict() string {
	text := "met"
	switch {
	case len(o.missed) > 0:
		text = "**missed**: " + strings.Join(o.missed, ", ")
	case o.unproven:
		return "not measured"
	case len(o.measured) > 0:
		text += ": " + strings.Join(o.measured, ", ")
	}
	if o.close {
		text += "; close"
	}
	return text
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
