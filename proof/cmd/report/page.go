package main

import (
	_ "embed"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// facts is what the page is made of.
type facts struct {
	Checks    int
	Models    [][2]string // name, lives
	Histories [][2]string // name, pairs of operations at the same time
	Weather   [][]string  // who, weather, sent, served, failed, rejected
	Coverage  string
	Uncovered [][2]string // package, functions
	Mutants   []mutants
	Soak      soak
}

type mutants struct {
	Package                                  string
	Points, Tried, Killed, ByTimeout, ByRace int
	Survivors                                []struct{ Where, Kind, Was, Is, Equivalent string }
}

// Different returns how many of those tried make a difference.
func (m mutants) Different() int {
	n := m.Tried
	for _, s := range m.Survivors {
		if s.Equivalent != "" {
			n--
		}
	}
	return n
}

// Percent returns how many of these were killed.
func (m mutants) Percent() float64 { return 100 * float64(m.Killed) / float64(max(1, m.Different())) }

type soak struct {
	Seconds            float64
	Race               bool
	Goroutines         int
	Calls              map[string]map[string]int64
	Changes, Keys      int64
	Opened             int
	HeapStart, HeapEnd uint64
	LeftOver           int
	Broken             []string
}

// load reads the figures of the longer commands.
func (f *facts) load(dir string) error {
	for name, into := range map[string]any{"mutate.json": &f.Mutants, "soak.json": &f.Soak} {
		data, err := os.ReadFile(filepath.Join(dir, name))
		if err != nil {
			return err
		}
		if err := json.Unmarshal(data, into); err != nil {
			return err
		}
	}
	return nil
}

//go:embed page.md
var text string

func (f *facts) page() (string, error) {
	functions := template.FuncMap{
		"kB":   func(n uint64) uint64 { return n >> 10 },
		"code": func(s string) string { return "`` " + strings.ReplaceAll(s, "|", "\\|") + " ``" },
	}
	t, err := template.New("page").Funcs(functions).Parse(text)
	if err != nil {
		return "", err
	}
	var s strings.Builder
	if err := t.Execute(&s, f); err != nil {
		return "", err
	}
	return s.String(), nil
}
