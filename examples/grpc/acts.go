package main

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/hedge"
)

// script is how long the acts are.
type script struct {
	calls               int           // of the first act
	well, outage, after time.Duration // of the second
}

var (
	full  = script{calls: 3000, well: time.Second, outage: 4 * time.Second, after: 3 * time.Second}
	brief = script{calls: 600, well: 500 * time.Millisecond, outage: 1500 * time.Millisecond, after: 1500 * time.Millisecond}
)

const (
	straggle = 400 * time.Millisecond
	patience = 300 * time.Millisecond // the deadline of a call, in the second act
	interval = 5 * time.Millisecond
)

// sideBySide makes two clients, one without policies and one with, each with a server.
func sideBySide(straggle time.Duration, p thole.Policy) (pair [2]*client, stop func(), err error) {
	var stops []func()
	stop = func() {
		for _, s := range stops {
			s()
		}
	}
	for i, p := range []thole.Policy{nil, p} {
		s, err := serve(straggle)
		if err != nil {
			stop()
			return pair, nil, err
		}
		stops = append(stops, s.stop)
		if pair[i], err = dial(s, p); err != nil {
			stop()
			return pair, nil, err
		}
		conn := pair[i].conn
		stops = append(stops, func() { _ = conn.Close() })
	}
	return pair, stop, nil
}

// both makes the same calls by both.
func both(ctx context.Context, pair [2]*client, n int, deadline time.Duration) (logs [2][]call) {
	var running sync.WaitGroup
	for i, c := range pair {
		running.Go(func() { logs[i] = c.calls(ctx, n, interval, deadline) })
	}
	running.Wait()
	return logs
}

// hedgingReport is what came of the first act: of the client without policies, and of the other.
type hedgingReport struct {
	calls    int
	p50, p99 [2]time.Duration
	arrived  [2]int64
}

// hedging is the first act: one answer in thirty takes long.
func hedging(ctx context.Context, s script) (r hedgingReport, err error) {
	// Another attempt after the time in which 95 of 100 answers come, and never for more than
	// one call in ten.
	h := hedge.New(hedge.Config{Quantile: 0.95, Delay: 10 * time.Millisecond, Budget: thole.NewBudget(thole.BudgetConfig{Ratio: 0.1})})
	pair, stop, err := sideBySide(straggle, h)
	if err != nil {
		return r, err
	}
	defer stop()
	for _, c := range pair {
		c.server.arrived.Store(0)
	}
	r.calls = s.calls
	for i, log := range both(ctx, pair, s.calls, time.Minute) {
		r.p50[i], r.p99[i] = quantile(log, 0.5), quantile(log, 0.99)
		r.arrived[i] = pair[i].server.arrived.Load()
	}
	return r, ctx.Err()
}

func (r hedgingReport) String() string {
	text := fmt.Sprintf("Stragglers: one answer in 30 takes %v, the others 2 to 8 ms. %d calls.\n\n", straggle, r.calls)
	text += fmt.Sprintf("%-12s %9s %9s   %s\n", "", "p50", "p99", "requests per call")
	for i, name := range []string{"no policies", "hedge"} {
		text += fmt.Sprintf("%-12s %9s %9s   %.2f\n", name, millis(r.p50[i]), millis(r.p99[i]), float64(r.arrived[i])/float64(r.calls))
	}
	return text
}

// shown reports whether hedging cut the tail, at little cost.
func (r hedgingReport) shown() bool {
	return r.p99[1] < r.p99[0]/2 && float64(r.arrived[1]) < 1.25*float64(r.calls)
}

// outageReport is what came of the second act.
type outageReport struct {
	calls         int              // made while the server hung
	toDead        [2]int64         // of them, those that it had to hold
	failed        [2]time.Duration // what a caller waited for nothing, in the middle
	servedAfter   [2]float64       // share of the calls made when it was well again
	refused       int              // by the breaker
	recoveryDelay [2]time.Duration // from when the server was well to the first answer
}

// breaking is the second act: the server hangs for a while.
func breaking(ctx context.Context, s script) (r outageReport, err error) {
	b := breaker.New(breaker.Config{
		Name: "catalog", ConsecutiveFailures: 5,
		OpenFor: 200 * time.Millisecond, MaxOpenFor: 500 * time.Millisecond,
	})
	pair, stop, err := sideBySide(0, b)
	if err != nil {
		return r, err
	}
	defer stop()
	held := make(chan [2]int64, 1)
	go func() { held <- pretendDead(pair, s) }()
	logs := both(ctx, pair, int((s.well+s.outage+s.after)/interval), patience)
	r.toDead = <-held
	for i, log := range logs {
		r.read(i, s, log)
	}
	return r, ctx.Err()
}

// pretendDead lets the servers hang when it is time, and be well again. It returns how many
// calls came meanwhile.
func pretendDead(pair [2]*client, s script) (held [2]int64) {
	time.Sleep(s.well)
	for i, c := range pair {
		held[i] = -c.server.arrived.Load()
		c.server.dead.Store(true)
	}
	time.Sleep(s.outage)
	for i, c := range pair {
		held[i] += c.server.arrived.Load()
		c.server.dead.Store(false)
	}
	return held
}

// read takes from a client's log what is of interest.
func (r *outageReport) read(i int, s script, log []call) {
	outage := those(log, func(c call) bool { return c.began >= s.well && c.began < s.well+s.outage })
	after := those(log, func(c call) bool { return c.began >= s.well+s.outage })
	good := those(after, func(c call) bool { return c.err == nil })
	r.calls = len(outage)
	r.failed[i] = quantile(those(outage, func(c call) bool { return c.err != nil }), 0.5)
	r.refused += len(those(log, call.refused))
	if len(good) > 0 {
		r.servedAfter[i] = float64(len(good)) / float64(len(after))
		r.recoveryDelay[i] = good[0].began + good[0].took - s.well - s.outage
	}
}

func (r outageReport) String() string {
	text := fmt.Sprintf("Outage: the server takes calls and does not answer. About %d calls meanwhile, each with %v of patience.\n\n", r.calls, patience)
	text += fmt.Sprintf("%-12s %16s %16s %14s %16s\n", "", "held by server", "p50 of failing", "served after", "first answer")
	for i, name := range []string{"no policies", "breaker"} {
		text += fmt.Sprintf("%-12s %16d %16s %12.1f %% %16s\n", name, r.toDead[i], millis(r.failed[i]), 100*r.servedAfter[i], millis(r.recoveryDelay[i]))
	}
	return text + fmt.Sprintf("\nThe breaker refused %d calls at once.\n", r.refused)
}

// shown reports whether the breaker spared server and callers, and let go when all was well.
func (r outageReport) shown() bool {
	return r.toDead[1] < r.toDead[0]/2 && r.failed[1] < r.failed[0]/2 && r.servedAfter[1] > 0.5
}

func millis(d time.Duration) string {
	return fmt.Sprintf("%.1f ms", float64(d)/float64(time.Millisecond))
}
