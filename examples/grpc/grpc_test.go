package main

import "testing"

func TestActs(t *testing.T) {
	stragglers, err := hedging(t.Context(), brief)
	if err != nil || !stragglers.shown() {
		t.Errorf("%v\n%v", err, stragglers)
	}
	outage, err := breaking(t.Context(), brief)
	if err != nil || !outage.shown() {
		t.Errorf("%v\n%v", err, outage)
	}
}
