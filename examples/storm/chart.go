package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"strings"
	"time"
)

// watch shows how the storm goes until it is over or ctx ends: on a terminal by a chart that
// is drawn again in place, else by a line for each second.
func watch(ctx context.Context, over <-chan struct{}, out *os.File, w *Weather, contenders []*contender) {
	if terminal(out) {
		animate(ctx, over, out, w, contenders)
	} else {
		narrate(ctx, over, out, w, contenders)
	}
}

func terminal(f *os.File) bool {
	info, err := f.Stat()
	return err == nil && info.Mode()&os.ModeCharDevice != 0 && os.Getenv("TERM") != "dumb"
}

// narrate writes a line for each second as soon as all calls made in it have ended.
func narrate(ctx context.Context, over <-chan struct{}, out io.Writer, w *Weather, contenders []*contender) {
	const late = deadline + 100*time.Millisecond
	fmt.Fprint(out, "share of calls served within the deadline, by the second they were made in\n\n")
	fmt.Fprintf(out, "%4s  %-9s", "", "")
	for _, c := range contenders {
		fmt.Fprintf(out, "  %16s", c.Name)
	}
	fmt.Fprintln(out)
	for at := time.Duration(0); at < w.End(); at += time.Second {
		timer := time.NewTimer(at + time.Second + late - w.Elapsed())
		select {
		case <-timer.C:
		case <-over:
		case <-ctx.Done():
			return
		}
		fmt.Fprintf(out, "%2.0f s  %-9s", at.Seconds(), w.At(at).Kind)
		for _, c := range contenders {
			fmt.Fprintf(out, "  %14.0f %%", 100*share(c.log.Calls(), at, at+time.Second).Ratio())
		}
		fmt.Fprintln(out)
	}
}

const (
	hideCursor = "\x1b[?25l"
	showCursor = "\x1b[?25h"
	clearLine  = "\x1b[K"
	up         = "\x1b[%dA"
	plain      = "\x1b[0m"
	dim        = "\x1b[2m"
	green      = "\x1b[32m"
	yellow     = "\x1b[33m"
	red        = "\x1b[31m"
)

// animate draws the chart five times a second.
func animate(ctx context.Context, over <-chan struct{}, out io.Writer, w *Weather, contenders []*contender) {
	fmt.Fprint(out, hideCursor)
	defer fmt.Fprint(out, showCursor)
	ticker := time.NewTicker(200 * time.Millisecond)
	defer ticker.Stop()
	for first := true; ; first = false {
		lines := frame(w.Forecast, w.Elapsed(), contenders)
		if !first {
			fmt.Fprintf(out, up, len(lines))
		}
		fmt.Fprint(out, strings.Join(lines, clearLine+"\n")+clearLine+"\n")
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		case <-over:
			fmt.Fprintf(out, up, len(lines))
			lines = frame(w.Forecast, w.End(), contenders)
			fmt.Fprint(out, strings.Join(lines, clearLine+"\n")+clearLine+"\n")
			return
		}
	}
}

// frame is the chart at one moment. Calls that have not ended don't count yet, so the last
// second still changes.
func frame(f Forecast, now time.Duration, contenders []*contender) []string {
	now = min(now, f.End())
	lines := []string{
		fmt.Sprintf("%4.1f s  %-8s  %-*s  load", now.Seconds(), f.At(now).Kind, slots, fmt.Sprintf("share of calls served within %.0f s", deadline.Seconds())),
		"",
	}
	for _, c := range contenders {
		points := curve(c.log.Calls(), f.Slot(), f.End())
		lines = append(lines, fmt.Sprintf("%-16s  %s  %4d", c.Name, sparkline(points, int(now/f.Slot())), c.server.inside.Load()))
	}
	for _, names := range phaseLines(f) {
		lines = append(lines, dim+strings.Repeat(" ", 18)+names+plain)
	}
	return lines
}

// sparkline draws points up to the one that is current, coloured by how good they are.
func sparkline(points []Share, current int) string {
	levels := []rune("▁▂▃▄▅▆▇█")
	var b strings.Builder
	for i, p := range points {
		switch {
		case i > current:
			b.WriteRune(' ')
			continue
		case p.Of == 0:
			b.WriteString(dim + "·" + plain)
			continue
		}
		colour := red
		if p.Ratio() >= 0.95 {
			colour = green
		} else if p.Ratio() >= 0.5 {
			colour = yellow
		}
		b.WriteString(colour)
		b.WriteRune(levels[min(int(p.Ratio()*float64(len(levels))), len(levels)-1)])
	}
	return b.String() + plain
}

// phaseLines names each phase where it begins, on two lines in turn, since a short phase has
// little room for its name.
func phaseLines(f Forecast) [2]string {
	var lines [2][]rune
	for i, p := range f {
		from := int(p.Start / f.Slot())
		line := lines[i%2]
		line = line[:min(len(line), from)]
		line = append(line, []rune(strings.Repeat(" ", max(0, from-len(line))))...)
		lines[i%2] = append(line, []rune("╵"+p.Kind.String())...)
	}
	return [2]string{string(lines[0]), string(lines[1])}
}
