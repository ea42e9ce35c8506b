package ratelimit

import (
	"fmt"
	"math"
	"math/bits"
	"strings"
	"time"

	"github.com/thole-go/thole/internal/check"
)

// Rate is Count tokens in each Per. The quotient alone matters to the arithmetic: 100 per
// second and 1 per 10 ms are the same rate, and how many tokens may be taken at once is the
// limiter's Burst.
//
// The zero Rate is refused, since it is most likely a field that was forgotten: to deny
// every call write Per(0, time.Second), to admit every call [Unlimited].
type Rate struct {
	Count int           // tokens, from 0 (which denies all) to one per nanosecond of Per
	Per   time.Duration // more than 0, at most 100 years
}

// Unlimited is the rate of a limiter that admits every call, whatever its Burst.
var Unlimited = unlimited()

// unlimited keeps the meaning of the value out of a variable's reach.
func unlimited() Rate { return Rate{Count: math.MaxInt, Per: 1} }

// Per returns the rate of n tokens in each d: Per(100, time.Second). Per(0, d) denies all.
func Per(n int, d time.Duration) Rate { return Rate{Count: n, Per: d} }

// String returns "100/s", "3/1m30s", "0/s" or "unlimited".
func (r Rate) String() string {
	if r == unlimited() {
		return "unlimited"
	}
	switch r.Per {
	case time.Nanosecond, time.Microsecond, time.Millisecond, time.Second:
		return fmt.Sprintf("%d/%s", r.Count, r.Per.String()[1:])
	case time.Minute:
		return fmt.Sprintf("%d/m", r.Count)
	case time.Hour:
		return fmt.Sprintf("%d/h", r.Count)
	}
	// 15m, not 15m0s.
	per := r.Per.String()
	if strings.HasSuffix(per, "m0s") {
		per = strings.TrimSuffix(per, "0s")
	}
	if strings.HasSuffix(per, "h0m") {
		per = strings.TrimSuffix(per, "0m")
	}
	return fmt.Sprintf("%d/%s", r.Count, per)
}

// check adds what is wrong with r, and with a burst of that many tokens at this rate.
func (r Rate) check(f *check.Fields, burst int) {
	f.Need(burst >= 0, "Burst", burst, "0 (1 token) or more")
	if r == unlimited() {
		return
	}
	if r == (Rate{}) {
		f.Need(false, "Rate", "zero", "a rate such as Per(100, time.Second); Per(0, time.Second) denies all, Unlimited admits all (required)")
		return
	}
	f.Positive("Rate.Per", r.Per)
	f.Need(r.Count >= 0, "Rate.Count", r.Count, "0 (denies all) or more")
	if r.Per <= 0 || r.Per > check.MaxDuration || r.Count <= 0 {
		return
	}
	f.Need(int64(r.Count) <= int64(r.Per), "Rate", r, "at most 1 per nanosecond, or Unlimited")
	hi, lo := bits.Mul64(uint64(max(burst, 1)), uint64(r.Per))
	tooLong := hi >= uint64(r.Count)
	if !tooLong {
		fill, _ := bits.Div64(hi, lo, uint64(r.Count))
		tooLong = fill >= uint64(check.MaxDuration)
	}
	f.Need(!tooLong, "Burst", burst, fmt.Sprintf("less than %d h would fill at the rate of %v", int64(check.MaxDuration.Hours()), r))
}
