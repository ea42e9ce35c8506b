package main

import (
	"bytes"
	"fmt"
	"strings"
	"time"
)

// The picture's measures, in pixels.
const (
	width      = 960
	plotLeft   = 200
	plotRight  = 752
	plotTop    = 114
	panel      = 76 // height of a client's panel
	gap        = 26 // between panels
	axisHeight = 74 // below the last panel
	plotWidth  = plotRight - plotLeft
)

// style has all colours twice, so that the picture is legible on light and on dark pages.
const style = `
text{font:13px ui-sans-serif,system-ui,-apple-system,"Segoe UI",Inter,Helvetica,Arial,sans-serif;fill:#1f2328}
.card{fill:#fff;stroke:#d1d9e0}
.title{font-size:20px;font-weight:600}
.name,.figure{font-size:15px;font-weight:600}
.quiet{fill:#59636e;font-size:12px}
.phase{fill:#59636e;font-size:11px}
.middle,.phase{text-anchor:middle}
.end{text-anchor:end}
.band{fill:#59636e;fill-opacity:.09}
.band.dead{fill-opacity:.24}
.band.cold{fill:#0969da;fill-opacity:.09}
.grid{stroke:#59636e;stroke-opacity:.22}
.base{stroke:#59636e;stroke-opacity:.7}
.healthy{stroke:#59636e;stroke-dasharray:3 3}
.line{fill:none;stroke-width:2;stroke-linejoin:round;stroke-linecap:round}
.area{fill-opacity:.16}
.t0{fill:#57606a}.t1{fill:#cf222e}.t2{fill:#0f766e}.t3{fill:#0969da}
.l0{stroke:#57606a}.l1{stroke:#cf222e}.l2{stroke:#0f766e}.l3{stroke:#0969da}
@media (prefers-color-scheme:dark){
text{fill:#f0f6fc}
.card{fill:#0d1117;stroke:#3d444d}
.quiet,.phase{fill:#9198a1}
.band{fill:#9198a1;fill-opacity:.13}
.band.dead{fill-opacity:.32}
.band.cold{fill:#4493f8;fill-opacity:.17}
.grid,.base,.healthy{stroke:#9198a1}
.area{fill-opacity:.24}
.t0{fill:#b1bac4}.t1{fill:#ff7b72}.t2{fill:#2dd4bf}.t3{fill:#58a6ff}
.l0{stroke:#b1bac4}.l1{stroke:#ff7b72}.l2{stroke:#2dd4bf}.l3{stroke:#58a6ff}
}
`

// drawing is an SVG document in the making.
type drawing struct {
	bytes.Buffer
	forecast Forecast
}

func (d *drawing) printf(format string, args ...any) { fmt.Fprintf(d, format+"\n", args...) }

func (d *drawing) text(class string, x, y float64, text string) {
	d.printf(`<text class="%s" x="%.1f" y="%.1f">%s</text>`, class, x, y, escape.Replace(text))
}

func (d *drawing) line(class string, x1, y1, x2, y2 float64) {
	d.printf(`<line class="%s" x1="%.1f" y1="%.1f" x2="%.1f" y2="%.1f"/>`, class, x1, y1, x2, y2)
}

var escape = strings.NewReplacer("&", "&amp;", "<", "&lt;", ">", "&gt;", `"`, "&quot;")

// x is where a moment of the storm lies.
func (d *drawing) x(at time.Duration) float64 {
	return plotLeft + plotWidth*float64(at)/float64(d.forecast.End())
}

// picture draws the results as an SVG document: a panel for each client, one above the
// other, over the same time and the same phases.
func picture(f Forecast, results []Result, seed uint64) []byte {
	d := &drawing{forecast: f}
	bottom := float64(plotTop + len(results)*(panel+gap) - gap)
	height := int(bottom) + axisHeight
	d.printf(`<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img" aria-labelledby="title desc">`, width, height, width, height)
	d.printf(`<title id="title">Goodput of %d HTTP clients in a storm</title>`, len(results))
	d.printf(`<desc id="desc">%s</desc>`, escape.Replace(describe(results)))
	d.printf("<style>%s</style>", style)
	d.printf(`<rect class="card" x="0.5" y="0.5" width="%d" height="%d" rx="8"/>`, width-1, height-1)
	d.text("title", 24, 38, "One storm, four clients")
	d.text("quiet", 24, 60, fmt.Sprintf("Share of calls served within %.0f s, by when they were made: %d calls a second to a server that can do %.0f.", deadline.Seconds(), rate, capacity))
	d.phases(bottom)
	for i, r := range results {
		d.panel(i, r)
	}
	d.axis(bottom)
	d.text("quiet", 24, float64(height)-16, fmt.Sprintf("Measured by go run ./examples/storm -seed %d", seed))
	d.printf("</svg>")
	return d.Bytes()
}

// describe tells what the picture shows to those who can't see it.
func describe(results []Result) string {
	var parts []string
	for _, r := range results {
		parts = append(parts, fmt.Sprintf("%s: %s of calls served, %s after the storm, %s",
			r.Name, percent(r.All.Ratio()), percent(r.After.Ratio()), r.fate()))
	}
	return strings.Join(parts, "; ") + "."
}

// phases shades what is not calm, and names all.
func (d *drawing) phases(bottom float64) {
	ill := 0
	for _, p := range d.forecast {
		x, w := d.x(p.Start), d.x(p.End)-d.x(p.Start)
		d.text("phase", x+w/2, plotTop-16, p.Kind.String())
		if p.Kind == Calm {
			continue
		}
		if ill++; ill%2 == 1 || p.Kind == Dead || p.Kind == Cold {
			d.printf(`<rect class="band %s" x="%.1f" y="%d" width="%.1f" height="%.1f"/>`, p.Kind, x, plotTop-8, w, bottom-plotTop+8)
		}
	}
	x := d.x(d.forecast.Healthy())
	d.line("healthy", x, plotTop-8, x, bottom)
}

// panel draws one client's curve, with its name on the left and its figures on the right.
func (d *drawing) panel(i int, r Result) {
	top := float64(plotTop + i*(panel+gap))
	bottom := top + panel
	d.text(fmt.Sprintf("name t%d", i), 24, top+30, r.Name)
	d.text("quiet", 24, top+49, r.Note)
	d.text("quiet end", plotLeft-8, top+4, "100 %")
	d.text("quiet end", plotLeft-8, bottom+4, "0")
	d.line("grid", plotLeft, top, plotRight, top)
	d.line("grid", plotLeft, top+panel/2, plotRight, top+panel/2)

	var path strings.Builder
	for n, s := range r.Curve {
		middle := time.Duration(n)*d.forecast.Slot() + d.forecast.Slot()/2
		switch n { // the outermost points stand at the edges
		case 0:
			middle = 0
		case len(r.Curve) - 1:
			middle = d.forecast.End()
		}
		fmt.Fprintf(&path, "%.1f,%.1f ", d.x(middle), bottom-panel*s.Ratio())
	}
	d.printf(`<polygon class="area t%d" points="%d,%.1f %s%d,%.1f"/>`, i, plotLeft, bottom, &path, plotRight, bottom)
	d.printf(`<polyline class="line l%d" points="%s"/>`, i, strings.TrimSpace(path.String()))
	d.line("base", plotLeft, bottom, plotRight, bottom)

	const x = plotRight + 22
	d.text(fmt.Sprintf("figure t%d", i), x, top+17, r.fate())
	d.text("quiet", x, top+36, fmt.Sprintf("%.0f %% served, %.0f %% after", 100*r.All.Ratio(), 100*r.After.Ratio()))
	d.text("quiet", x, top+53, fmt.Sprintf("%.2f requests per call", r.PerCall))
	d.text("quiet", x, top+70, fmt.Sprintf("at most %d in the server", r.Peak))
}

// fate says in a word or two how the storm ended for a client.
func (r Result) fate() string {
	switch {
	case !r.Recovered:
		return "never recovered"
	case r.Recovery == 0:
		return "recovered at once"
	}
	return "recovered in " + r.recoveredAfter()
}

// axis draws the seconds.
func (d *drawing) axis(bottom float64) {
	step := 2 * time.Second
	if d.forecast.End() < 10*time.Second {
		step = time.Second
	}
	for at := time.Duration(0); at <= d.forecast.End(); at += step {
		d.line("base", d.x(at), bottom, d.x(at), bottom+4)
		d.text("quiet middle", d.x(at), bottom+19, fmt.Sprintf("%.0f s", at.Seconds()))
	}
}
