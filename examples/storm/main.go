// Storm sends several http.Clients through one storm and shows what becomes of each.
//
//	go run ./examples/storm
//
// Every client has an HTTP server of its own, on loopback. All servers live through the same
// weather: they grow slow, fail, hang, reset connections, die, come back cold and are well
// again. Every client makes the same calls at the same moments, each with a deadline, as
// users have one. What is printed was measured in this run.
//
// weather.go has the storm, server.go the server, client.go the clients.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"sync"
	"time"
)

func main() {
	brief := flag.Bool("short", false, "a storm of 8 s instead of 23 s, up to three times until it shows what it should; exit with 1 if none does")
	svg := flag.String("svg", "", "write a picture of it to this `file`")
	seed := flag.Uint64("seed", 1, "seed of what is random: when calls are made, how long work takes")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends the program at once
	f, tries := forecast(full), 1
	if *brief {
		// A blip can meet a breaker's probe, or the machine can have no time for us.
		f, tries = forecast(short), 3
	}
	shown, err := false, error(nil)
	for try := 0; try < tries && !shown && err == nil; try++ {
		if try > 0 {
			fmt.Print("\nOnce more, with another seed.\n\n")
		}
		shown, err = show(ctx, f, *seed+uint64(try), *svg)
	}
	switch {
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "storm: stopped")
		os.Exit(130)
	case err != nil:
		fmt.Fprintln(os.Stderr, "storm:", err)
		os.Exit(1)
	case *brief && !shown:
		os.Exit(1)
	}
}

// show runs a storm and writes what came of it. It reports whether that is what the storm
// is to show.
func show(ctx context.Context, f Forecast, seed uint64, svg string) (bool, error) {
	results, err := storm(ctx, loopback{}, f, seed, os.Stdout)
	if err != nil {
		return false, err
	}
	text, shown := verdict(results)
	fmt.Println()
	writeTable(os.Stdout, results)
	fmt.Printf("\n%s\n", text)
	if svg != "" {
		err = os.WriteFile(svg, picture(f, results, seed), 0o644)
	}
	return shown, err
}

// storm sends all clients through it at once.
func storm(ctx context.Context, n network, f Forecast, seed uint64, out *os.File) ([]Result, error) {
	w := &Weather{Forecast: f}
	base := n.transport()
	defer base.CloseIdleConnections()
	var contenders []*contender
	for _, c := range clients(base) {
		s, err := newServer(n, w, c.Protect, seed)
		if err != nil {
			return nil, err
		}
		contenders = append(contenders, &contender{Client: c, server: s})
	}

	ctx, cancel := context.WithCancelCause(ctx)
	var serving, calling, watching sync.WaitGroup
	defer serving.Wait()
	defer cancel(nil)
	w.Began = time.Now()
	times := arrivals(f.End(), seed)
	for _, c := range contenders {
		serving.Go(func() {
			if err := c.server.Run(ctx); err != nil {
				cancel(err)
			}
		})
		calling.Go(func() { c.storm(ctx, w, times) })
	}
	over := make(chan struct{})
	watching.Go(func() { watch(ctx, over, out, w, contenders) })
	calling.Wait()
	close(over)
	watching.Wait()

	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	var results []Result
	for _, c := range contenders {
		arrived, peak := int(c.server.arrived.Load()), int(c.server.peak.Load())
		results = append(results, evaluate(c.Client, c.log.Calls(), arrived, peak, f))
	}
	return results, nil
}
