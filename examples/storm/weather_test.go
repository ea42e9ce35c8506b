package main

import (
	"math"
	"testing"
	"time"
)

func TestForecast_phasesFollowEachOther(t *testing.T) {
	for _, l := range []lengths{full, short} {
		f := forecast(l)
		var end time.Duration
		for i, p := range f {
			if p.Start != end || p.End <= p.Start {
				t.Errorf("phase %d is [%v, %v) after %v", i, p.Start, p.End, end)
			}
			end = p.End
			if got := f.At(p.Start); got != p {
				t.Errorf("At(%v) = %v, want %v", p.Start, got, p)
			}
		}
		if f[0].Kind != Calm || f[len(f)-1].Kind != Calm || f[5].Kind != Dead {
			t.Errorf("phases are %v", f)
		}
		if f.At(f.End()+time.Hour) != f[len(f)-1] {
			t.Error("what comes after is not the last phase")
		}
	}
}

func TestForecast_lengths(t *testing.T) {
	if end := forecast(full).End(); end > 26*time.Second {
		t.Errorf("the storm lasts %v", end)
	}
	if end := forecast(short).End(); end > 8*time.Second {
		t.Errorf("the short storm lasts %v", end)
	}
}

func TestPhase_Slowness(t *testing.T) {
	cold := Phase{Cold, 2 * time.Second, 4 * time.Second}
	for _, tt := range []struct {
		phase Phase
		at    time.Duration
		want  float64
	}{
		{Phase{Calm, 0, time.Second}, 0, 1},
		{Phase{Slow, 0, time.Second}, 0, slowFactor},
		{cold, cold.Start, 1 / coldShare},
		{cold, cold.End, 1},
	} {
		if got := tt.phase.Slowness(tt.at); math.Abs(got-tt.want) > 1e-9 {
			t.Errorf("%v at %v: %v, want %v", tt.phase.Kind, tt.at, got, tt.want)
		}
	}
}
