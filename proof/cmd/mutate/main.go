// Command mutate tells how much the tests of a package notice. It copies the root module into
// a temporary folder, changes one thing there at a time (a comparison shifted, a condition
// negated, a statement dropped, a constant off by one …), runs the package's own tests, and
// reports which changes no test objected to.
//
//	go run ./proof/cmd/mutate -n 30 breaker retry bulkhead ratelimit hedge
//
// Which mutants are tried is drawn at random by -seed; -n 0 tries all of them. A mutant that
// does not compile is not counted. One that survives is tried again under the race detector,
// since what a dropped lock does is seen by nothing else. Nothing in the checkout is changed.
package main

import (
	"cmp"
	"encoding/json"
	"flag"
	"fmt"
	"hash/fnv"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"
)

// tally is what became of one package's mutants, as written by -json.
type tally struct {
	Package   string
	Points    int // mutants there are
	Tried     int // that compiled
	Killed    int
	ByTimeout int // of those killed
	ByRace    int // of those killed, by the race detector alone
	Survivors []survivor
}

type survivor struct {
	Where, Kind, Was, Is string
	Equivalent           string `json:",omitempty"` // why no test can tell
}

type options struct {
	root    string
	n       int
	seed    uint64
	timeout time.Duration
	race    bool
}

func main() {
	var o options
	flag.StringVar(&o.root, "root", ".", "the root module's `folder`")
	flag.IntVar(&o.n, "n", 30, "mutants to try for each package; 0 = all")
	flag.Uint64Var(&o.seed, "seed", 1, "what draws the sample")
	flag.DurationVar(&o.timeout, "timeout", 60*time.Second, "for one run of a package's tests; longer counts as killed")
	flag.BoolVar(&o.race, "race", true, "try survivors again under the race detector")
	bar := flag.Float64("bar", 0.9, "exit with an error if less than this share is killed in any package")
	out := flag.String("json", "", "write the figures to this `file` too")
	again := flag.String("again", "", "try only the survivors in this `file`, written by -json, and take over its other figures")
	known := flag.String("equivalent", "", "`file` of survivors known to change no behaviour: a line each, package/file.go, the line's text after the change, the reason, tab-separated")
	flag.Parse()
	if flag.NArg() == 0 && *again == "" {
		fmt.Fprintln(os.Stderr, "usage: mutate [flags] package...")
		os.Exit(2)
	}
	ok, err := run(o, flag.Args(), *bar, *out, *known, *again)
	if err != nil {
		fmt.Fprintln(os.Stderr, "mutate:", err)
		os.Exit(2)
	}
	if !ok {
		os.Exit(1)
	}
}

func run(o options, packages []string, bar float64, out, known, again string) (ok bool, err error) {
	equivalents, err := readEquivalents(known)
	if err != nil {
		return false, err
	}
	dir, err := os.MkdirTemp("", "mutate")
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(dir)
	if err := copyModule(o.root, dir); err != nil {
		return false, err
	}
	if again != "" {
		return runAgain(o, dir, bar, out, again, equivalents)
	}
	var tallies []tally
	ok = true
	for _, pkg := range packages {
		t, err := mutatePackage(o, dir, pkg, equivalents)
		if err != nil {
			return false, fmt.Errorf("%s: %w", pkg, err)
		}
		tallies = append(tallies, t)
		fmt.Println(t.line())
		ok = ok && t.share() >= bar
		if err := write(out, tallies); err != nil {
			return false, err
		}
	}
	return ok, nil
}

// mutatePackage tries a sample of the mutants of one package.
func mutatePackage(o options, dir, pkg string, equivalents map[string]string) (tally, error) {
	t := tally{Package: pkg}
	mutants, err := mutantsOf(filepath.Join(dir, pkg))
	if err != nil {
		return t, err
	}
	t.Points = len(mutants)
	h := fnv.New64()
	h.Write([]byte(pkg))
	rng := rand.New(rand.NewPCG(o.seed, h.Sum64()))
	rng.Shuffle(len(mutants), func(i, j int) { mutants[i], mutants[j] = mutants[j], mutants[i] })

	if v, output := o.try(dir, pkg, mutant{}); v != survived {
		return t, fmt.Errorf("the tests fail without any change:\n%s", output)
	}
	for _, m := range mutants {
		if o.n > 0 && t.Tried >= o.n {
			break
		}
		v, _ := o.try(dir, pkg, m)
		fmt.Printf("%-9s %s %s\n", v, m.where(dir), m)
		switch v {
		case broken:
			continue
		case killed:
			t.Killed++
		case killedLate:
			t.Killed++
			t.ByTimeout++
		case killedByRace:
			t.Killed++
			t.ByRace++
		case survived:
			t.Survivors = append(t.Survivors, m.survivor(dir, pkg, equivalents))
		}
		t.Tried++
	}
	slices.SortFunc(t.Survivors, func(a, b survivor) int { return cmp.Compare(a.Where, b.Where) })
	return t, nil
}

func (m mutant) survivor(dir, pkg string, equivalents map[string]string) survivor {
	return survivor{
		m.where(dir), m.kind, m.line(false), m.line(true),
		equivalents[equivalentKey(pkg+"/"+filepath.Base(m.file), m.line(true))],
	}
}

// runAgain tries the survivors of an earlier run: those that tests notice by now become killed.
func runAgain(o options, dir string, bar float64, out, again string, equivalents map[string]string) (ok bool, err error) {
	data, err := os.ReadFile(again)
	if err != nil {
		return false, err
	}
	var tallies []tally
	if err := json.Unmarshal(data, &tallies); err != nil {
		return false, err
	}
	ok = true
	for i := range tallies {
		t := &tallies[i]
		mutants, err := mutantsOf(filepath.Join(dir, t.Package))
		if err != nil {
			return false, err
		}
		before := t.Survivors
		t.Points, t.Survivors = len(mutants), nil
		for _, s := range before {
			i := slices.IndexFunc(mutants, func(m mutant) bool {
				return m.kind == s.Kind && m.line(false) == s.Was && m.line(true) == s.Is && strings.HasPrefix(s.Where, t.Package+"/"+filepath.Base(m.file)+":")
			})
			if i < 0 {
				fmt.Printf("the code has changed: %s\n", s.Where)
				t.Tried--
				continue
			}
			v, _ := o.try(dir, t.Package, mutants[i])
			fmt.Printf("%-9s %s %s\n", v, mutants[i].where(dir), mutants[i])
			if v != survived {
				t.Killed++
				continue
			}
			t.Survivors = append(t.Survivors, mutants[i].survivor(dir, t.Package, equivalents))
		}
		fmt.Println(t.line())
		ok = ok && t.share() >= bar
	}
	return ok, write(out, tallies)
}

// share returns which part of the mutants that make a difference was killed.
func (t tally) share() float64 {
	different := t.Tried
	for _, s := range t.Survivors {
		if s.Equivalent != "" {
			different--
		}
	}
	if different == 0 {
		return 1
	}
	return float64(t.Killed) / float64(different)
}

func (t tally) line() string {
	var s strings.Builder
	fmt.Fprintf(&s, "\n%s: %d of %d mutants tried, %d killed (%d by the time limit, %d by the race detector alone), %.1f %% of those that make a difference",
		t.Package, t.Tried, t.Points, t.Killed, t.ByTimeout, t.ByRace, 100*t.share())
	for _, v := range t.Survivors {
		fmt.Fprintf(&s, "\n  %s: %s\n    - %s\n    + %s", v.Where, v.Kind, v.Was, v.Is)
		if v.Equivalent != "" {
			fmt.Fprintf(&s, "\n    makes no difference: %s", v.Equivalent)
		}
	}
	return s.String() + "\n"
}

func write(file string, tallies []tally) error {
	if file == "" {
		return nil
	}
	data, err := json.MarshalIndent(tallies, "", "  ")
	if err != nil {
		return err
	}
	return os.WriteFile(file, append(data, '\n'), 0o644)
}

func equivalentKey(file, line string) string { return file + "\t" + line }

func readEquivalents(file string) (map[string]string, error) {
	known := map[string]string{}
	if file == "" {
		return known, nil
	}
	data, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	for i, line := range strings.Split(strings.TrimSpace(string(data)), "\n") {
		if line == "" || line[0] == '#' {
			continue
		}
		parts := strings.Split(line, "\t")
		if len(parts) != 3 {
			return nil, fmt.Errorf("%s:%d: want three parts, separated by tabs", file, i+1)
		}
		known[equivalentKey(parts[0], parts[1])] = parts[2]
	}
	return known, nil
}
