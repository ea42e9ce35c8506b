package main

import (
	"testing"
	"time"
)

// calls makes one call each 10 ms over [from, to), every nth of which is not served; 0 serves all.
func calls(from, to time.Duration, nth int) []Call {
	var cs []Call
	for at := from; at < to; at += 10 * time.Millisecond {
		n := len(cs) + 1
		cs = append(cs, Call{At: at, Took: time.Millisecond, Served: nth == 0 || n%nth != 0})
	}
	return cs
}

func TestRecovery(t *testing.T) {
	const healthy, end = 5 * time.Second, 10 * time.Second
	none := 1 // every call fails
	tests := []struct {
		name  string
		calls []Call
		want  time.Duration
		ok    bool
	}{
		{"at once", calls(0, end, 0), 0, true},
		{"with one in fifty failing", calls(0, end, 50), 0, true},
		{"late", append(calls(0, 7*time.Second, none), calls(7*time.Second, end, 0)...), 2 * time.Second, true},
		{"never", calls(0, end, none), 0, false},
		{"one in ten failing is not recovered", calls(0, end, 10), 0, false},
		{"a relapse counts until it is over", append(append(calls(0, 6*time.Second, 0),
			calls(6*time.Second, 8*time.Second, none)...), calls(8*time.Second, end, 0)...), 3 * time.Second, true},
		{"too late to tell", append(calls(0, 9500*time.Millisecond, none), calls(9500*time.Millisecond, end, 0)...), 0, false},
		{"no calls", nil, 0, false},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got, ok := recovery(tt.calls, healthy, end)
			// A twentieth of a window may still fail, so it can begin that much earlier.
			if ok != tt.ok || got > tt.want || got < tt.want-100*time.Millisecond {
				t.Errorf("got %v, %v; want %v, %v", got, ok, tt.want, tt.ok)
			}
		})
	}
}

func TestPercentile(t *testing.T) {
	var sorted []time.Duration
	for i := range 100 {
		sorted = append(sorted, time.Duration(i+1))
	}
	for p, want := range map[float64]time.Duration{0: 1, 0.5: 51, 0.99: 100, 1: 100} {
		if got := percentile(sorted, p); got != want {
			t.Errorf("percentile %v = %v, want %v", p, got, want)
		}
	}
	if got := percentile(nil, 0.5); got != 0 {
		t.Errorf("percentile of nothing = %v", got)
	}
}

func TestCurve(t *testing.T) {
	got := curve([]Call{{At: 0, Served: true}, {At: 9}, {At: 10, Served: true}, {At: 30}}, 10, 25)
	want := []Share{{1, 2}, {1, 1}, {0, 0}}
	if len(got) != len(want) {
		t.Fatalf("got %v, want %v", got, want)
	}
	for i := range want {
		if got[i] != want[i] {
			t.Errorf("slot %d: %v, want %v", i, got[i], want[i])
		}
	}
}

func TestEvaluate(t *testing.T) {
	f := Forecast{{Calm, 0, 2 * time.Second}, {Dead, 2 * time.Second, 3 * time.Second}, {Calm, 3 * time.Second, 5 * time.Second}}
	cs := calls(0, 2*time.Second, 0)
	cs = append(cs, calls(2*time.Second, 3*time.Second, 1)...)
	cs = append(cs, calls(3*time.Second, 5*time.Second, 0)...)
	r := evaluate(Client{Name: "c"}, cs, 250, 7, f)
	if r.All != (Share{400, 500}) || r.After != (Share{200, 200}) || r.PerCall != 0.5 || r.Peak != 7 ||
		!r.Recovered || r.Recovery != 0 || r.P50 != time.Millisecond || r.Failed != time.Millisecond || r.Name != "c" {
		t.Errorf("got %+v", r)
	}
	if r := evaluate(Client{}, nil, 0, 0, f); r.Recovered || r.All.Ratio() != 0 || r.PerCall != 0 {
		t.Errorf("of no calls: %+v", r)
	}
}

func TestArrivals(t *testing.T) {
	const span = 100 * time.Second
	a, b := arrivals(span, 1), arrivals(span, 1)
	if len(a) != len(b) || a[7] != b[7] {
		t.Error("one seed gives two sequences")
	}
	if n := len(a); n < rate*95 || n > rate*105 {
		t.Errorf("%d calls in %v, want about %d a second", n, span, rate)
	}
	for i := 1; i < len(a); i++ {
		if a[i] < a[i-1] || a[i] >= span {
			t.Fatalf("call %d is at %v after %v", i, a[i], a[i-1])
		}
	}
}
