package main

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"sync"
	"time"

	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholehttp"
)

// What users want of each client: so many calls a second, each answered within the deadline.
const (
	rate     = 65 // calls a second, 65 % of the server's capacity
	deadline = time.Second
)

// Caller makes one call: nil means that the answer came and was good.
type Caller func(ctx context.Context, url string) error

// Client is one way to call a server, with a server of its own to call.
type Client struct {
	Name, Note   string
	Naive, Thole bool // what the verdict expects of it
	Caller       Caller
	Protect      func(http.Handler) http.Handler // what its server is behind; nil for nothing
}

// clients returns those who go through the storm. All stand on base; with nil in its place
// they would stand on http.DefaultTransport.
func clients(base http.RoundTripper) []Client {
	bare := &http.Client{Transport: base}
	return []Client{
		{
			Name:   "bare",
			Note:   "http.Client, no retry",
			Caller: get(bare),
		},
		{
			Name:   "naive retry",
			Note:   "3 retries, 250 ms each",
			Naive:  true,
			Caller: naive(get(bare)),
		},
		{
			Name:   "thole",
			Note:   "standard.Client()",
			Thole:  true,
			Caller: get(&http.Client{Transport: tholehttp.NewTransport(base, standard.Client(), tholehttp.TransportConfig{})}),
		},
		{
			Name:   "thole, both ends",
			Note:   "and standard.Server(8)",
			Thole:  true,
			Caller: get(&http.Client{Transport: tholehttp.NewTransport(base, standard.Client(), tholehttp.TransportConfig{})}),
			Protect: func(h http.Handler) http.Handler {
				return tholehttp.NewHandler(h, standard.Server(workers), tholehttp.HandlerConfig{})
			},
		},
	}
}

// get calls by an http.Client. Only the status 200 is a good answer.
func get(client *http.Client) Caller {
	return func(ctx context.Context, url string) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		if _, err := io.Copy(io.Discard, resp.Body); err != nil {
			return err
		}
		if resp.StatusCode != http.StatusOK {
			return fmt.Errorf("status %s", resp.Status)
		}
		return nil
	}
}

// naive is the loop that everybody has written: cut the deadline into four, try again up to
// three times after a short pause. A try's 250 ms are far more than a healthy server takes.
func naive(call Caller) Caller {
	const (
		tries = 4
		limit = deadline / tries
		pause = 20 * time.Millisecond
	)
	try := func(ctx context.Context, url string) error {
		ctx, cancel := context.WithTimeout(ctx, limit)
		defer cancel()
		return call(ctx, url)
	}
	return func(ctx context.Context, url string) (err error) {
		for i := range tries {
			if i > 0 {
				time.Sleep(pause)
			}
			if err = try(ctx, url); err == nil || ctx.Err() != nil {
				break
			}
		}
		return err
	}
}

// arrivals returns when the calls are made: at random moments, none waiting for another (a
// Poisson process), as those of many users are.
func arrivals(until time.Duration, seed uint64) []time.Duration {
	chance := rand.New(rand.NewPCG(seed, 2))
	var times []time.Duration
	mean := float64(time.Second) / rate
	for at := time.Duration(0); ; {
		at += time.Duration(chance.ExpFloat64() * mean)
		if at >= until {
			return times
		}
		times = append(times, at)
	}
}

// contender is a client with its server, and what became of its calls.
type contender struct {
	Client
	server *Server
	log    Log
}

// storm makes the calls at their times and returns when all have ended. Time counts from
// the moment when a call should have been made, so a generator that falls behind makes no
// result look better.
func (c *contender) storm(ctx context.Context, w *Weather, times []time.Duration) {
	var calls sync.WaitGroup
	defer calls.Wait()
	for _, at := range times {
		if !w.Sleep(ctx, at) {
			return
		}
		calls.Go(func() {
			due := w.Began.Add(at)
			ctx, cancel := context.WithDeadline(ctx, due.Add(deadline))
			defer cancel()
			err := c.Caller(ctx, "http://"+c.server.addr)
			took := time.Since(due)
			c.log.Add(Call{At: at, Took: took, Served: err == nil && took <= deadline})
		})
	}
}
