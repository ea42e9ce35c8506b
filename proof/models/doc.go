// Package models holds plain models of the policies and the tests that compare the two. A
// model keeps everything that ever happened in a list and looks through all of it for each
// decision: too slow to use, and too simple to be wrong in the same way as the real thing.
//
// To look longer than the defaults: go test ./proof/models -rapid.checks=10000.
package models
