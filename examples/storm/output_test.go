package main

import (
	"bytes"
	"context"
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

func sample(f Forecast) []Result {
	bad := evaluate(Client{Name: "naive <retry>", Note: `"3" & more`, Naive: true}, calls(0, f.Healthy()/10, 0), 12, 3, f)
	good := evaluate(Client{Name: "thole", Thole: true}, calls(0, f.End(), 0), 99, 4, f)
	return []Result{bad, good}
}

func TestTable_columnsAlign(t *testing.T) {
	var b bytes.Buffer
	writeTable(&b, sample(forecast(short)))
	lines := strings.Split(b.String(), "\n")
	for _, line := range lines[:5] {
		if got, want := utf8.RuneCountInString(line), utf8.RuneCountInString(lines[2]); got != want {
			t.Errorf("%q is %d wide, the rule %d", line, got, want)
		}
	}
	for i, want := range []string{"never", "0.0 s"} {
		if !strings.HasSuffix(lines[3+i], want) {
			t.Errorf("%q does not end in %q", lines[3+i], want)
		}
	}
}

func TestMillis(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0.0 ms", 1540 * time.Microsecond: "1.5 ms", time.Second: "1000 ms"} {
		if got := millis(d); got != want {
			t.Errorf("millis(%v) = %q, want %q", d, got, want)
		}
	}
}

func TestPicture_isWellFormed(t *testing.T) {
	for _, l := range []lengths{full, short} {
		f := forecast(l)
		results := sample(f)
		d := xml.NewDecoder(bytes.NewReader(picture(f, results, 1)))
		elements := make(map[string]int)
		var text strings.Builder
		for {
			token, err := d.Token()
			if errors.Is(err, io.EOF) {
				break
			}
			if err != nil {
				t.Fatal(err)
			}
			switch token := token.(type) {
			case xml.StartElement:
				elements[token.Name.Local]++
			case xml.CharData:
				text.Write(token)
				text.WriteByte('\n')
			}
		}
		if elements["polyline"] != len(results) || elements["polygon"] != len(results) || elements["title"] != 1 {
			t.Errorf("elements: %v", elements)
		}
		for _, want := range []string{"naive <retry>", `"3" & more`, "never recovered", "recovered at once"} {
			if !strings.Contains(text.String(), want) {
				t.Errorf("no %q in the text", want)
			}
		}
		for _, p := range f {
			if !strings.Contains(text.String(), "\n"+p.Kind.String()+"\n") {
				t.Errorf("no label for %v", p.Kind)
			}
		}
	}
}

func TestPicture_curveStaysInItsPanel(t *testing.T) {
	d := &drawing{forecast: forecast(full)}
	d.panel(0, sample(d.forecast)[1])
	if strings.Contains(d.String(), "NaN") || strings.Contains(d.String(), "Inf") {
		t.Error("not a number")
	}
	if x := d.x(d.forecast.End()); x != plotRight {
		t.Errorf("the storm ends at %v, the plot at %v", x, plotRight)
	}
}

func TestSparkline(t *testing.T) {
	got := sparkline([]Share{{0, 9}, {9, 9}, {5, 9}, {}, {9, 9}}, 3)
	want := red + "▁" + green + "█" + yellow + "▅" + dim + "·" + plain + " " + plain
	if got != want {
		t.Errorf("got %q, want %q", got, want)
	}
}

func TestPhaseLines_nameEachPhaseWhereItBegins(t *testing.T) {
	for _, l := range []lengths{full, short} {
		f := forecast(l)
		lines := phaseLines(f)
		for i, p := range f {
			line := []rune(lines[i%2])
			from := int(p.Start / f.Slot())
			want := "╵" + p.Kind.String()[:4]
			if !strings.HasPrefix(string(line[from:]), want) {
				t.Errorf("%q does not have %q at %d", string(line), want, from)
			}
		}
	}
}

func TestNarrate_writesALineForEachSecondAndThenEnds(t *testing.T) {
	over := make(chan struct{})
	close(over)
	w := &Weather{Forecast: forecast(short), Began: time.Now()}
	var b bytes.Buffer
	narrate(context.Background(), over, &b, w, []*contender{{Client: Client{Name: "c"}}})
	if n := strings.Count(b.String(), " s  "); n != 8 {
		t.Errorf("%d lines:\n%s", n, &b)
	}
}

func TestVerdict(t *testing.T) {
	down := Result{Client: Client{Name: "naive", Naive: true}, After: Share{1, 100}}
	up := Result{Client: Client{Name: "thole", Thole: true}, After: Share{99, 100}, Recovered: true}
	bare := Result{Client: Client{Name: "bare"}, After: Share{98, 100}, Recovered: true}
	flip := func(r Result) Result { r.Recovered = !r.Recovered; return r }
	busy := bare
	busy.After = Share{50, 100}
	for _, tt := range []struct {
		name             string
		results          []Result
		shown, disturbed bool
	}{
		{"shown", []Result{bare, down, up}, true, false},
		{"naive recovers", []Result{bare, flip(down), up}, false, false},
		{"thole does not", []Result{bare, down, flip(up)}, false, false},
		{"busy machine", []Result{busy, down, up}, true, true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			text, shown := verdict(tt.results)
			if shown != tt.shown || text == "" || disturbed(tt.results) != tt.disturbed {
				t.Errorf("verdict %q, %v; disturbed %v", text, shown, disturbed(tt.results))
			}
		})
	}
}
