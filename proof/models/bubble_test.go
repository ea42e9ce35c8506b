package models

import (
	"fmt"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"
)

// inBubble checks a property in virtual time: each of its cases has a bubble of its own, and
// must leave no goroutine in it. A panic, which is how rapid ends a case, must not cross the
// bubble's edge, and is raised again outside.
func inBubble(t *testing.T, property func(*rapid.T)) {
	rapid.Check(t, func(rt *rapid.T) {
		var raised any
		synctest.Test(t, func(*testing.T) {
			defer func() { raised = recover() }()
			property(rt)
		})
		// rapid tells failures apart by where they were raised: a case that ran out of data,
		// which happens while it looks for a smaller one, is raised from another line.
		switch {
		case raised == nil:
		case fmt.Sprintf("%T", raised) == "rapid.invalidData":
			panic(raised)
		default:
			panic(raised)
		}
	})
}

const ms = time.Millisecond

// millis draws a duration in whole milliseconds.
func millis(rt *rapid.T, least, most int, label string) time.Duration {
	return time.Duration(rapid.IntRange(least, most).Draw(rt, label)) * ms
}

// sometimes is true in one of n cases.
func sometimes(rt *rapid.T, n int, label string) bool {
	return rapid.IntRange(1, n).Draw(rt, label) == n
}

func equal[T comparable](rt *rapid.T, want, got T, what string) {
	rt.Helper()
	if want != got {
		rt.Fatalf("%s: the model says %v, the policy %v", what, want, got)
	}
}
