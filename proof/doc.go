// Package proof is where thole is put to proof by means that the library itself does without:
// it holds no code of the library, and is a module of its own so that nobody who uses thole
// depends on what is required here.
//
//   - models: each policy against a plain reference, led through random lives by rapid, in
//     virtual time; and concurrent histories, checked for linearizability by porcupine.
//   - chains: random policies in random order around every kind of function there is, fuzzed.
//   - faults: HTTP and gRPC through a TCP proxy that delays, throttles, resets and dies.
//   - cmd/soak: everything at once, for as long as you like.
//   - cmd/mutate: what the tests of a package notice when its code is changed.
//   - cmd/report: writes docs/proof.md from the figures of all these.
package proof
