//go:build !race

package tholetest

const raceEnabled = false
