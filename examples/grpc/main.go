// Grpc sends calls to a gRPC server in a bad way and shows what policies make of it.
//
//	go run ./examples/grpc
//
// Client and server run in this one program, over loopback. There are two acts. In the first
// a few of the server's answers take very long, and one client hedges. In the second the
// server hangs for a while, and one client has a breaker. Beside each there is a client
// without policies that makes the same calls at the same moments. What is printed was
// measured in this run.
//
// server.go has the server, client.go the clients, acts.go what happens to them.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
)

func main() {
	short := flag.Bool("short", false, "take a few seconds instead of some more; exit with 1 if it does not show what it should")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()

	s := full
	if *short {
		s = brief
	}
	stragglers, err := hedging(ctx, s)
	if err == nil {
		fmt.Println(stragglers)
		var outage outageReport
		if outage, err = breaking(ctx, s); err == nil {
			fmt.Println(outage)
			if *short && !(stragglers.shown() && outage.shown()) {
				os.Exit(1)
			}
		}
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "grpc:", err)
		os.Exit(1)
	}
}
