package main

import (
	"go/parser"
	"go/token"
	"testing"
)

const source = `package p

func f(a []int, n int) (ok bool) {
	for i := 0; i < len(a) && !ok; i++ {
		if a[i] == n+1 {
			ok = true
			break
		}
	}
	defer println("done")
	return max(n, 2) > 1
}
`

func TestMutants_eachIsAProgramAndNoneTheSame(t *testing.T) {
	mutants, err := mutantsIn("p.go", []byte(source))
	if err != nil {
		t.Fatal(err)
	}
	seen := map[string]bool{source: true}
	kinds := map[string]int{}
	for _, m := range mutants {
		text := string(m.apply())
		if seen[text] {
			t.Errorf("not new: %v", m)
		}
		seen[text] = true
		kinds[m.kind]++
		if _, err := parser.ParseFile(token.NewFileSet(), "p.go", text, 0); err != nil {
			t.Errorf("%v: %v", m, err)
		}
		if m.line(false) == m.line(true) {
			t.Errorf("%v: the line does not show the change", m)
		}
	}
	for kind, want := range map[string]int{
		"operator": 8, "negation dropped": 1, "condition negated": 1, "off by one": 7, "swapped": 2, "statement dropped": 2, "branch": 1,
	} {
		if kinds[kind] != want {
			t.Errorf("%d mutants of the kind %q, want %d", kinds[kind], kind, want)
		}
	}
}

func TestShare_countsWhatMakesADifference(t *testing.T) {
	s := tally{Tried: 10, Killed: 8, Survivors: []survivor{{}, {Equivalent: "for a reason"}}}
	if got := s.share(); got != 8.0/9 {
		t.Errorf("%v of the mutants killed, want 8 of 9", got)
	}
}
