package benchmarks

import (
	"runtime"
	"testing"
	"time"

	"github.com/eapache/go-resiliency/semaphore"
	"github.com/failsafe-go/failsafe-go/bulkhead"
	xsemaphore "golang.org/x/sync/semaphore"

	tholebulkhead "github.com/thole-go/thole/bulkhead"
)

// BenchmarkMemory tells how much an idle instance takes: the heap's growth by ten thousand of
// them. Its time is that of making one.
func BenchmarkMemory(b *testing.B) {
	for _, c := range []struct {
		name string
		make func() any
	}{
		{"breaker,_row/thole", func() any { return tholeRow() }},
		{"breaker,_row/failsafe-go", func() any { return failsafeRow() }},
		{"breaker,_row/gobreaker", func() any { return gobreakerRow() }},
		{"breaker,_row/eapache", func() any { return eapacheRow() }},
		{"breaker,_window/thole", func() any { return tholeWindow() }},
		{"breaker,_window/failsafe-go", func() any { return failsafeWindow() }},
		{"breaker,_window/gobreaker", func() any { return gobreakerWindow() }},
		{"retry/thole", func() any { return tholeRetry() }},
		{"retry/failsafe-go", func() any { return failsafeRetry() }},
		{"retry/avast", func() any { return avastRetry(b.Context()) }},
		{"token_bucket/thole", func() any { return tholeBucket(permits, time.Second) }},
		{"token_bucket/failsafe-go", func() any { return failsafeBursty(permits, time.Second) }},
		{"token_bucket/x/time", func() any { return xRate(permits, time.Second) }},
		{"token_bucket/uber", func() any { return uberLimiter(permits, time.Second) }},
		{"sliding_window/thole", func() any { return tholeSliding(permits, time.Second, false) }},
		{"sliding_window/RussellLuo", func() any { return russellLuo(permits, time.Second) }},
		{"bulkhead/thole", func() any { return tholebulkhead.New(tholebulkhead.Config{Limit: permits}) }},
		{"bulkhead/failsafe-go", func() any { return bulkhead.New[any](permits) }},
		{"bulkhead/x/sync", func() any { return xsemaphore.NewWeighted(permits) }},
		{"bulkhead/eapache", func() any { return semaphore.New(permits, time.Second) }},
		{"timeout/thole", func() any { return tholeTimeout(enough) }},
		{"hedge/thole", func() any { return tholeHedge(time.Second) }},
		{"hedge/failsafe-go", func() any { return failsafeHedge(time.Second) }},
		{"five-policy_chain/thole", func() any { return tholeStack(tholeRow(), true) }},
		{"five-policy_chain/failsafe-go", func() any { return failsafeStack(true) }},
		{"five-policy_chain/good_libraries_composed", func() any { return newComposed(true) }},
	} {
		b.Run(c.name, func(b *testing.B) {
			const n = 10_000
			all := make([]any, n)
			grown := heapGrowth(func() {
				for i := range all {
					all[i] = c.make()
				}
			})
			for b.Loop() {
				all[0] = c.make()
			}
			runtime.KeepAlive(all)
			b.ReportMetric(grown/n, "B/instance")
		})
	}
	for _, c := range []struct {
		name  string
		limit func() func(string) bool
	}{
		{"a_key_of_10,000/thole", func() func(string) bool { return tholeKeyed(permits, time.Second).Allow }},
		{"a_key_of_10,000/map_of_x/time", func() func(string) bool { return newMapOfXRate(permits, time.Second).Allow }},
		{"a_key_of_10,000/throttled", func() func(string) bool {
			l := throttledLimiter(permits, time.Second)
			return func(key string) bool { return throttledAllow(l, key) }
		}},
	} {
		b.Run(c.name, func(b *testing.B) {
			var allow func(string) bool
			grown := heapGrowth(func() {
				allow = c.limit()
				warm(allow)
			})
			for b.Loop() {
				_ = allow(manyKeys[0])
			}
			b.ReportMetric(grown/keys, "B/instance")
		})
	}
}

// heapGrowth returns by how many bytes of live objects the heap has grown when grow is done.
func heapGrowth(grow func()) float64 {
	var before, after runtime.MemStats
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&before)
	grow()
	runtime.GC()
	runtime.GC()
	runtime.ReadMemStats(&after)
	return float64(after.HeapAlloc) - float64(before.HeapAlloc)
}
