// Package chains puts random policies together in random order, runs functions through them
// that succeed, fail, panic, end their goroutine, hang, and ignore their context, and checks
// that the contract of thole.Policy holds for every one of them and that nothing is left over.
// Time is virtual.
package chains
