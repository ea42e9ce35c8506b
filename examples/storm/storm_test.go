package main

import (
	"context"
	"os"
	"testing"
	"testing/synctest"
	"time"
)

// The storm in virtual time and over pipes: the same program, on a machine that is never
// busy.
func TestStorm_naiveCollapsesAndTholeDoesNot(t *testing.T) {
	const seeds = 3
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	after := make(map[string]float64) // sum over the seeds
	for seed := range uint64(seeds) {
		synctest.Test(t, func(t *testing.T) {
			began := time.Now()
			results, err := storm(context.Background(), &pipes{}, forecast(full), seed, null)
			if err != nil {
				t.Fatal(err)
			}
			if took := time.Since(began); took > forecast(full).End()+2*deadline {
				t.Errorf("took %v", took)
			}
			for _, r := range results {
				after[r.Name] += r.After.Ratio()
				t.Logf("seed %d: %s: %s served, %s after, %.2f requests per call, at most %d in the server, %s", seed,
					r.Name, percent(r.All.Ratio()), percent(r.After.Ratio()), r.PerCall, r.Peak, r.fate())
				if r.Naive && (r.Recovered || r.PerCall < 2) {
					t.Errorf("seed %d: naive retry sent %.2f requests per call and %s", seed, r.PerCall, r.fate())
				}
				if r.Thole && r.PerCall > 1.1 {
					t.Errorf("seed %d: %s sent %.2f requests per call", seed, r.Name, r.PerCall)
				}
				if r.Protect != nil && r.Peak > 3*workers {
					t.Errorf("seed %d: %d requests in a server that admits %d and as many in its queue", seed, r.Peak, workers)
				}
			}
		})
	}
	for _, c := range clients(nil) {
		mean := after[c.Name] / seeds
		if c.Naive && mean > 0.1 || c.Thole && mean < 0.75 {
			t.Errorf("%s served %s of the calls made after the storm", c.Name, percent(mean))
		}
	}
}

func TestStorm_stopsWhenToldTo(t *testing.T) {
	null, err := os.OpenFile(os.DevNull, os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer null.Close()
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
		defer cancel()
		began := time.Now()
		if _, err := storm(ctx, &pipes{}, forecast(full), 1, null); err == nil {
			t.Error("no error")
		}
		if took := time.Since(began); took > 6*time.Second {
			t.Errorf("took %v", took)
		}
	})
}
