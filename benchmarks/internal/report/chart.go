package report

import (
	"fmt"
	"html"
	"io"
	"math"
	"strings"
)

// bars of the chart: a group for each job, ours first.
var charted = []struct {
	job, title string
	others     []string
}{
	{"Chain", "timeout + retry + breaker + bulkhead + limiter", []string{lean, "good libraries composed", failsafe}},
	{"BreakerClosedRow", "circuit breaker, closed", []string{"eapache", "gobreaker", failsafe}},
	{"BreakerOpen", "circuit breaker, open: rejecting", []string{"eapache", "gobreaker", failsafe}},
	{"RetryFirst", "retry, first try succeeds", []string{"eapache", "sethvargo", "backoff v4", failsafe}},
	{"BulkheadFree", "bulkhead, a permit is free", []string{"x/sync", failsafe}},
	{"TokenBucketAllow", "rate limit, a token is there", []string{"x/time", "uber", "failsafe-go, executor"}},
	{"TimeoutFast", "timeout around a fast call", []string{stdlibCtx, failsafe}},
}

// The chart's measures, in pixels.
const (
	chartWidth = 820
	labelWidth = 210
	rightRoom  = 150
	barHeight  = 15
	barPitch   = 19
	groupHead  = 24
	groupGap   = 14
	topRoom    = 58
)

// The colours are chosen per scheme, and the card has a ground of its own, so that the text is
// legible whatever the page around it.
const chartStyle = `
  .card{fill:#ffffff;stroke:#d0d7de} .title{fill:#1f2328;font-weight:600} .text{fill:#1f2328} .faint{fill:#59636e}
  .ours{fill:#0969da} .other{fill:#afb8c1}
  text{font-family:-apple-system,BlinkMacSystemFont,'Segoe UI',Helvetica,Arial,sans-serif;font-size:12px}
  .h{font-size:16px} .b{font-weight:600}
  @media (prefers-color-scheme: dark){
    .card{fill:#0d1117;stroke:#30363d} .title,.text{fill:#e6edf3} .faint{fill:#9198a1} .ours{fill:#4493f8} .other{fill:#57606a}
  }
`

// WriteChart writes the results as a bar chart.
func WriteChart(w io.Writer, r *Results) error {
	var b strings.Builder
	y := topRoom
	for _, g := range charted {
		us := r.Find(g.job, ours, 1)
		if us == nil {
			continue
		}
		y = drawGroup(&b, r, y, g.job, g.title, g.others)
	}
	_, err := fmt.Fprintf(w, `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %[1]d %[2]d" width="%[1]d" height="%[2]d" role="img" aria-label="Cost of a call in nanoseconds">
<style>%[3]s</style>
<rect class="card" x="0.5" y="0.5" width="%[4]d" height="%[5]d" rx="8"/>
<text class="title h" x="20" y="28">Cost of a call, in nanoseconds: shorter is better</text>
<text class="faint" x="20" y="46">%[6]s, %[7]s; one thread, median. Each group has a scale of its own.</text>
%[8]s</svg>
`, chartWidth, y+4, chartStyle, chartWidth-1, y+3,
		html.EscapeString(r.Config["go"]), html.EscapeString(r.Config["cpu"]), b.String())
	return err
}

// drawGroup draws one job's bars from y down, and returns where the next group begins.
func drawGroup(b *strings.Builder, r *Results, y int, job, title string, others []string) int {
	rows := []*Row{r.Find(job, ours, 1)}
	longest := rows[0].NS()
	for _, name := range others {
		if row := r.Find(job, name, 1); row != nil {
			rows = append(rows, row)
			longest = math.Max(longest, row.NS())
		}
	}
	fmt.Fprintf(b, `<text class="text b" x="20" y="%d">%s</text>`+"\n", y+16, html.EscapeString(title))
	y += groupHead
	for i, row := range rows {
		class, weight := "other", "text"
		if i == 0 {
			class, weight = "ours", "text b"
		}
		width := math.Max(row.NS()/longest*(chartWidth-labelWidth-rightRoom), 1.5)
		name := strings.TrimSuffix(row.Contender, ", executor")
		fmt.Fprintf(b, `<text class="%s" x="%d" y="%d" text-anchor="end">%s</text>`+"\n",
			weight, labelWidth-10, y+12, html.EscapeString(name))
		fmt.Fprintf(b, `<rect class="%s" x="%d" y="%d" width="%.1f" height="%d" rx="2"/>`+"\n",
			class, labelWidth, y, width, barHeight)
		label := figure(row.NS())
		if i > 0 {
			label += "  (" + times(row.over(rows[0]).mid) + ")"
		}
		fmt.Fprintf(b, `<text class="%s" x="%.1f" y="%d">%s</text>`+"\n",
			weight, labelWidth+width+8, y+12, html.EscapeString(label))
		y += barPitch
	}
	return y + groupGap
}
