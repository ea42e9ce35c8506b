package main

import (
	"fmt"
	"io"
	"strings"
	"time"
	"unicode/utf8"
)

// column is one column of the table. The first is aligned to the left, figures to the right.
type column struct {
	head [2]string // over two lines
	cell func(Result) string
}

var columns = []column{
	{[2]string{"", "client"}, func(r Result) string { return r.Name }},
	{[2]string{"served", "in all"}, func(r Result) string { return percent(r.All.Ratio()) }},
	{[2]string{"served", "after"}, func(r Result) string { return percent(r.After.Ratio()) }},
	{[2]string{"p50 of", "served"}, func(r Result) string { return millis(r.P50) }},
	{[2]string{"p99 of", "served"}, func(r Result) string { return millis(r.P99) }},
	{[2]string{"p50 of", "failed"}, func(r Result) string { return millis(r.Failed) }},
	{[2]string{"requests", "per call"}, func(r Result) string { return fmt.Sprintf("%.2f", r.PerCall) }},
	{[2]string{"peak in", "server"}, func(r Result) string { return fmt.Sprint(r.Peak) }},
	{[2]string{"recovered", "after"}, Result.recoveredAfter},
}

func (r Result) recoveredAfter() string {
	if !r.Recovered {
		return "never"
	}
	return fmt.Sprintf("%.1f s", r.Recovery.Seconds())
}

func percent(ratio float64) string { return fmt.Sprintf("%.1f %%", 100*ratio) }

func millis(d time.Duration) string {
	ms := float64(d) / float64(time.Millisecond)
	if ms < 10 {
		return fmt.Sprintf("%.1f ms", ms)
	}
	return fmt.Sprintf("%.0f ms", ms)
}

const legend = `served     a good answer within the deadline; "after": of the calls made since the server was healthy again
failed     how long a call that was not served kept its caller
requests   what reached the server for each call made
peak       most requests in the server at a time, waiting or worked on
recovered  from the server's recovery until 95 % of the calls are served, and stay so
`

// writeTable writes a row for each client.
func writeTable(w io.Writer, results []Result) {
	rows := [][]string{make([]string, len(columns)), make([]string, len(columns))}
	for i, c := range columns {
		rows[0][i], rows[1][i] = c.head[0], c.head[1]
	}
	for _, r := range results {
		var row []string
		for _, c := range columns {
			row = append(row, c.cell(r))
		}
		rows = append(rows, row)
	}
	widths := make([]int, len(columns))
	total := 2 * (len(columns) - 1)
	for i := range columns {
		for _, row := range rows {
			widths[i] = max(widths[i], utf8.RuneCountInString(row[i]))
		}
		total += widths[i]
	}
	for n, row := range rows {
		for i, cell := range row {
			if i == 0 {
				fmt.Fprintf(w, "%-*s", widths[i], cell)
			} else {
				fmt.Fprintf(w, "  %*s", widths[i], cell)
			}
		}
		fmt.Fprintln(w)
		if n == 1 {
			fmt.Fprintln(w, strings.Repeat("─", total))
		}
	}
	fmt.Fprintf(w, "\n%s", legend)
}
