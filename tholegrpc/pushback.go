package tholegrpc

import (
	"math"
	"strconv"
	"time"

	"google.golang.org/genproto/googleapis/rpc/errdetails"
	"google.golang.org/grpc/metadata"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/types/known/durationpb"

	"github.com/thole-go/thole"
)

// pushbackKey is the trailer by which a server says when to try again, in milliseconds, or,
// by a negative number, not to. See gRFC A6, client retries.
const pushbackKey = "grpc-retry-pushback-ms"

// defaultWait is what a refused caller is told where the policy knows no time.
const defaultWait = time.Second

// retryHint returns what a callee said about another attempt: after what time, whether it
// named one, and whether it wants none. The trailer has precedence over the status' RetryInfo.
func retryHint(trailer metadata.MD, st *status.Status) (wait time.Duration, timed, never bool) {
	if values := trailer[pushbackKey]; len(values) > 0 {
		ms, err := strconv.ParseInt(values[0], 10, 64)
		if err != nil || len(values) > 1 || ms < 0 {
			return 0, false, true
		}
		if ms > math.MaxInt64/int64(time.Millisecond) {
			return maxWait, true, false
		}
		return min(time.Duration(ms)*time.Millisecond, maxWait), true, false
	}
	for _, d := range st.Proto().GetDetails() {
		info := &errdetails.RetryInfo{}
		if !d.MessageIs(info) || d.UnmarshalTo(info) != nil {
			continue
		}
		if info.RetryDelay == nil {
			return 0, true, false
		}
		wait := info.RetryDelay.AsDuration()
		if wait < 0 {
			return 0, false, true
		}
		return min(wait, maxWait), true, false
	}
	return 0, false, false
}

// waitOf returns what a caller is told who was refused with err: after what time another try
// makes sense. It reports false if none ever does.
func waitOf(err error) (time.Duration, bool) {
	wait, ok := thole.RetryAfter(err)
	if ok {
		return wait, wait < maxWait
	}
	switch reason, _ := thole.ReasonOf(err); reason {
	case thole.ReasonBurst, thole.ReasonExpired:
		return 0, false
	}
	return defaultWait, true
}

// withRetryInfo adds to st what a caller who was refused with err is told.
func withRetryInfo(st *status.Status, err error) *status.Status {
	wait, ok := waitOf(err)
	if !ok {
		return st
	}
	detailed, failed := st.WithDetails(&errdetails.RetryInfo{RetryDelay: durationpb.New(wait)})
	if failed != nil {
		return st
	}
	return detailed
}

// pushback returns the trailer for a caller who was refused with err.
func pushback(err error) metadata.MD {
	wait, ok := waitOf(err)
	if !ok {
		return metadata.Pairs(pushbackKey, "-1")
	}
	return metadata.Pairs(pushbackKey, strconv.FormatInt(millis(wait), 10))
}
