// Package faults has a TCP proxy that does to connections what networks do, and tests of the
// edges through it: HTTP/1, HTTP/2 with and without TLS, gRPC, on real sockets and the real
// clock. Under each fault every call must end by its deadline and be accounted for, and
// nothing may be left of it; when the fault is over, calls must succeed again.
package faults
