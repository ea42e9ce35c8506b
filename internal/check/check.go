// Package check words the errors of configurations: each names the field, the value and
// what is allowed.
package check

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// MaxDuration is the longest duration a configuration may name. Sums of a few of them and
// a monotonic clock stay far from overflow.
const MaxDuration = 100 * 365 * 24 * time.Hour

// Fields collects what is wrong with one configuration.
type Fields struct {
	pkg  string
	errs []error
}

// Of starts the check of a configuration of the package pkg, whose name begins each message.
func Of(pkg string) *Fields { return &Fields{pkg: pkg} }

// Need records that field has a value that is not allowed, unless ok.
func (f *Fields) Need(ok bool, field string, value any, allowed string) {
	if !ok {
		f.errs = append(f.errs, fmt.Errorf("%s: %s is %v: want %s", f.pkg, field, value, allowed))
	}
}

// Duration needs 0 ≤ d ≤ MaxDuration; what zero means goes into the message.
func (f *Fields) Duration(field string, d time.Duration, zero string) {
	f.Need(d >= 0 && d <= MaxDuration, field, d, fmt.Sprintf("0 (%s) to %d h", zero, int64(MaxDuration.Hours())))
}

// Positive needs 0 < d ≤ MaxDuration.
func (f *Fields) Positive(field string, d time.Duration) {
	f.Need(d > 0 && d <= MaxDuration, field, d, fmt.Sprintf("more than 0, at most %d h (required)", int64(MaxDuration.Hours())))
}

// Count needs 0 ≤ n ≤ most; what zero means goes into the message.
func (f *Fields) Count(field string, n, most int, zero string) {
	f.Need(n >= 0 && n <= most, field, n, fmt.Sprintf("0 (%s) to %d", zero, most))
}

// Ratio needs a number in [0, 1]; what zero means goes into the message.
func (f *Fields) Ratio(field string, r float64, zero string) {
	f.Need(!math.IsNaN(r) && r >= 0 && r <= 1, field, r, fmt.Sprintf("0 (%s) to 1", zero))
}

// Err returns all that was wrong, joined, or nil.
func (f *Fields) Err() error { return errors.Join(f.errs...) }
