package main

import "fmt"

// verdict says whether the run showed what this program is about: that the naive retry
// keeps its server down after the storm is over, and that thole does not.
func verdict(results []Result) (string, bool) {
	const collapsed, stands = 0.2, 0.5
	for _, r := range results {
		down := !r.Recovered && r.After.Ratio() < collapsed
		up := r.Recovered && r.After.Ratio() >= stands
		if r.Client.Naive && !down || r.Client.Thole && !up {
			text := fmt.Sprintf("Not shown by this run: %s served %s of the calls made after the storm, and %s.",
				r.Name, percent(r.After.Ratio()), r.fate())
			if disturbed(results) {
				text += " But the machine was too busy to tell: even bare calls to a healthy server failed."
			}
			return text, false
		}
	}
	return "The server was healthy again, and naive retry kept it down. With thole it came back.", true
}

// disturbed reports whether the machine had no time for the storm: calls without any policy
// to a healthy server would otherwise succeed.
func disturbed(results []Result) bool {
	for _, r := range results {
		if !r.Client.Naive && !r.Client.Thole && r.After.Ratio() < 0.9 {
			return true
		}
	}
	return false
}
