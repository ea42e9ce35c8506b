// Command report writes docs/proof.md: it runs the models, the fuzzed chains, the faults and
// the coverage, and adds the figures of the longer commands, which these write into
// proof/figures:
//
//	go run -race ./proof/cmd/soak -json proof/figures/soak.json
//	go run ./proof/cmd/mutate -n 30 -equivalent proof/cmd/mutate/equivalent.tsv \
//		-json proof/figures/mutate.json breaker retry bulkhead ratelimit hedge
//	go run ./proof/cmd/report
//
// It is run from the repository's root.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
)

func main() {
	out := flag.String("o", "docs/proof.md", "the `file` to write")
	checks := flag.Int("checks", 20_000, "random lives of each model, and random chains")
	flag.Parse()
	page, err := report(*checks)
	if err == nil {
		err = os.WriteFile(*out, []byte(page), 0o644)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "report:", err)
		os.Exit(1)
	}
}

func report(checks int) (string, error) {
	f := facts{Checks: checks}
	lives := fmt.Sprintf("-rapid.checks=%d", checks)
	models, err := test("proof", "./models", lives)
	if err != nil {
		return "", err
	}
	f.models(models)
	if _, err := test("proof", "./chains", lives); err != nil {
		return "", err
	}
	weather, err := test("proof", "./faults")
	if err != nil {
		return "", err
	}
	f.faults(weather)
	if err := f.coverage(); err != nil {
		return "", err
	}
	if err := f.load("proof/figures"); err != nil {
		return "", err
	}
	return f.page()
}

// test runs the tests of a package in a module's folder and returns what they print.
func test(dir, pkg string, flags ...string) (string, error) {
	return run(dir, append([]string{"test", "-v", "-count=1", pkg}, flags...)...)
}

func run(dir string, args ...string) (string, error) {
	fmt.Fprintln(os.Stderr, "go", strings.Join(args, " "))
	c := exec.Command("go", args...)
	c.Dir = dir
	output, err := c.CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("go %s: %w\n%s", strings.Join(args, " "), err, output)
	}
	return string(output), nil
}

var (
	started  = regexp.MustCompile(`^=== (?:RUN|CONT|NAME) +Test(\S+)`)
	passed   = regexp.MustCompile(`OK, passed (\d+) tests`)
	pairs    = regexp.MustCompile(`(\d+) pairs of operations`)
	accounts = regexp.MustCompile(`: (.+?) +sent (\d+) = served (\d+) \+ failed (\d+) \+ rejected (\d+)`)
	function = regexp.MustCompile(`^(\S+):\d+:\s+(\S+)\s+([\d.]+)%$`)
)

// models takes the figures of the models and histories.
func (f *facts) models(output string) {
	name := ""
	for line := range strings.Lines(output) {
		if m := started.FindStringSubmatch(line); m != nil {
			name = m[1]
		}
		plain := strings.ReplaceAll(name[strings.Index(name, "_")+1:], "_", " ")
		if m := passed.FindStringSubmatch(line); m != nil {
			f.Models = append(f.Models, [2]string{plain, m[1]})
		}
		if m := pairs.FindStringSubmatch(line); m != nil {
			f.Histories = append(f.Histories, [2]string{plain, m[1]})
		}
	}
}

// faults takes the accounts of the calls in each weather, in the order of the forecast.
func (f *facts) faults(output string) {
	name := ""
	for line := range strings.Lines(output) {
		if m := started.FindStringSubmatch(line); m != nil {
			name = strings.ReplaceAll(strings.TrimPrefix(m[1], "Faults/"), "_", " ")
		}
		if m := accounts.FindStringSubmatch(line); m != nil {
			f.Weather = append(f.Weather, append([]string{name}, m[1:]...))
		}
	}
}

// coverage measures that of the root module, and names what is below the whole.
func (f *facts) coverage() error {
	profile, err := os.CreateTemp("", "coverage")
	if err != nil {
		return err
	}
	profile.Close()
	defer os.Remove(profile.Name())
	if _, err := run(".", "test", "-coverprofile="+profile.Name(), "-coverpkg=./...", "./..."); err != nil {
		return err
	}
	output, err := run(".", "tool", "cover", "-func="+profile.Name())
	if err != nil {
		return err
	}
	uncovered := map[string][]string{}
	for line := range strings.Lines(output) {
		fields := strings.Fields(line)
		if len(fields) == 3 && fields[0] == "total:" {
			f.Coverage = fields[2]
		} else if m := function.FindStringSubmatch(strings.TrimSpace(line)); m != nil && m[3] != "100.0" {
			file := strings.TrimPrefix(m[1], "github.com/thole-go/thole/")
			dir := filepath.Dir(file)
			uncovered[dir] = append(uncovered[dir], fmt.Sprintf("%s (%s, %s %%)", m[2], filepath.Base(file), m[3]))
		}
	}
	for dir, functions := range uncovered {
		f.Uncovered = append(f.Uncovered, [2]string{dir, strings.Join(functions, ", ")})
	}
	slices.SortFunc(f.Uncovered, func(a, b [2]string) int { return strings.Compare(a[0], b[0]) })
	return nil
}
