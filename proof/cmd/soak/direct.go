package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/proof/faults"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholehttp"
	"github.com/thole-go/thole/timeout"
)

// permitPart takes permits of many weights, and counts for itself how many are out.
func permitPart() part {
	const most = 12
	room := bulkhead.New(bulkhead.Config{Limit: most, MaxWaiting: -1})
	var out, over atomic.Int64
	return part{
		name: "permits",
		run: func(ctx context.Context, rng *rand.Rand, c *count) {
			ctx, cancel := context.WithTimeout(ctx, time.Duration(1+rng.IntN(3000))*time.Microsecond)
			defer cancel()
			n := 1 + rng.IntN(6)
			release, err := room.AcquireN(ctx, n)
			if err == nil {
				if out.Add(int64(n)) > most {
					over.Add(1)
				}
				if rng.IntN(3) == 0 {
					pause(ctx, time.Duration(rng.IntN(300))*time.Microsecond)
				}
				out.Add(int64(-n))
				release()
				if rng.IntN(100) == 0 {
					release() // twice, by mistake
				}
			}
			c.note(ctx, err)
		},
		change: func(rng *rand.Rand) {
			cfg := bulkhead.Config{Limit: 1 + rng.IntN(most), MaxWaiting: rng.IntN(10) - 1, MaxWait: time.Duration(rng.IntN(3)) * time.Millisecond}
			if err := room.Reconfigure(cfg); err != nil {
				panic(err)
			}
		},
		settled: func(*figures) (wrong []string) {
			if s := room.Stats(); s.InUse != 0 || s.Waiting != 0 {
				wrong = append(wrong, fmt.Sprintf("%d permits are out, %d callers wait", s.InUse, s.Waiting))
			}
			if n := over.Load(); n > 0 {
				wrong = append(wrong, fmt.Sprintf("more permits were out than there ever were, %d times", n))
			}
			return wrong
		},
		end: func() {},
	}
}

// tokenPart takes, awaits, reserves and gives back tokens, and checks the bucket's bound.
func tokenPart() part {
	const rate, burst = 50_000, 200
	bucket := ratelimit.NewTokenBucket(ratelimit.TokenBucketConfig{Rate: ratelimit.Per(rate, time.Second), Burst: burst})
	start := time.Now()
	var taken atomic.Int64
	return part{
		name: "tokens",
		run: func(ctx context.Context, rng *rand.Rand, c *count) {
			n := 1 + rng.IntN(4)
			var err error
			switch rng.IntN(4) {
			case 0:
				ctx, cancel := context.WithTimeout(ctx, time.Duration(1+rng.IntN(1000))*time.Microsecond)
				defer cancel()
				if err = bucket.WaitN(ctx, n); err != nil && !errors.Is(err, thole.ErrRejected) {
					err = thole.ErrRejected // a context that was done on entry
				}
			case 1:
				r := bucket.Reserve(n)
				if !r.OK() || r.Delay() > time.Millisecond || rng.IntN(4) == 0 {
					r.Cancel()
					err = thole.ErrRejected
				} else {
					time.Sleep(r.Delay())
				}
			default:
				if !bucket.AllowN(n) {
					err = thole.ErrRejected
					time.Sleep(50 * time.Microsecond)
				}
			}
			if err == nil {
				taken.Add(int64(n))
			}
			c.note(ctx, err)
		},
		change: func(rng *rand.Rand) {
			// Never more than at first, so that the bound of the first holds throughout.
			cfg := ratelimit.TokenBucketConfig{Rate: ratelimit.Per(rate-rng.IntN(rate/2), time.Second), Burst: burst - rng.IntN(burst/2)}
			if err := bucket.Reconfigure(cfg); err != nil {
				panic(err)
			}
		},
		settled: func(*figures) (wrong []string) {
			if s := bucket.Stats(); bucket.InUse() || s.Waiting != 0 || s.Promised != 0 {
				wrong = append(wrong, fmt.Sprintf("the bucket is not full: %+v", s))
			}
			if n, most := taken.Load(), burst+int64(rate*time.Since(start).Seconds()); n > most {
				wrong = append(wrong, fmt.Sprintf("%d tokens were taken of %d", n, most))
			}
			return wrong
		},
		end: func() {},
	}
}

// webPart is a server behind a handler, a proxy with changing faults, and a client in front.
func webPart() (part, error) {
	room := bulkhead.New(bulkhead.Config{Limit: 4, MaxWaiting: 4})
	var inside, over atomic.Int64
	server := httptest.NewUnstartedServer(tholehttp.NewHandler(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if inside.Add(1) > 8 {
			over.Add(1)
		}
		defer inside.Add(-1)
		body, err := io.ReadAll(r.Body) // only then does a server of HTTP/1 notice that the client has gone
		if err != nil {
			return
		}
		switch r.URL.Query().Get("do") {
		case "fail":
			http.Error(w, "failed", http.StatusServiceUnavailable)
		case "hang":
			<-r.Context().Done()
		case "abort":
			panic(http.ErrAbortHandler)
		default:
			w.Write(body)
		}
	}), room, tholehttp.HandlerConfig{}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0)
	server.Start()
	proxy, err := faults.NewProxy(server.Listener.Addr().String())
	if err != nil {
		server.Close()
		return part{}, err
	}
	base := &http.Transport{MaxIdleConnsPerHost: 16}
	client := &http.Client{Transport: tholehttp.NewTransport(base, thole.Chain(
		timeout.New(timeout.Config{Limit: 100 * time.Millisecond}),
		retry.New(retry.Config{Backoff: retry.FullJitter(time.Millisecond, 5*time.Millisecond)}),
		thole.PerTarget(func(string) thole.Policy {
			return breaker.New(breaker.Config{FailureRatio: 0.9, OpenFor: 5 * time.Millisecond, MaxOpenFor: 20 * time.Millisecond})
		}),
		timeout.New(timeout.Config{Limit: 30 * time.Millisecond}),
	), tholehttp.TransportConfig{})}
	return part{
		name: "HTTP",
		run: func(ctx context.Context, rng *rand.Rand, c *count) {
			do := []string{"", "", "", "", "", "", "fail", "hang", "abort"}[rng.IntN(9)]
			c.note(ctx, get(ctx, client, "http://"+proxy.Addr()+"/?do="+do, rng.IntN(5000)))
		},
		change: func(rng *rand.Rand) {
			if err := room.Reconfigure(bulkhead.Config{Limit: 1 + rng.IntN(8), MaxWaiting: rng.IntN(8)}); err != nil {
				panic(err)
			}
			switch rng.IntN(20) {
			case 0:
				proxy.Reset()
			case 1:
				proxy.Set(faults.Faults{Latency: time.Duration(rng.IntN(20)) * time.Millisecond})
			case 2:
				proxy.Set(faults.Faults{ResetAfter: 1 + rng.IntN(5000)})
			default:
				proxy.Set(faults.Faults{})
			}
		},
		settled: func(*figures) (wrong []string) {
			if s := room.Stats(); s.InUse != 0 || s.Waiting != 0 {
				wrong = append(wrong, fmt.Sprintf("%d permits are out, %d callers wait", s.InUse, s.Waiting))
			}
			if n := over.Load(); n > 0 {
				wrong = append(wrong, fmt.Sprintf("more calls were in the handler than the bulkhead ever admits, %d times", n))
			}
			base.CloseIdleConnections()
			if n := proxy.Open(); n > 0 {
				wrong = append(wrong, fmt.Sprintf("%d connections are open", n))
			}
			return wrong
		},
		end: func() {
			base.CloseIdleConnections()
			proxy.Close()
			server.CloseClientConnections()
			server.Close()
		},
	}, nil
}

// get makes a request and checks that its answer is its own body.
func get(ctx context.Context, client *http.Client, url string, size int) error {
	body := strings.Repeat("x", size)
	req, err := http.NewRequestWithContext(ctx, http.MethodPut, url, strings.NewReader(body))
	if err != nil {
		return err
	}
	resp, err := client.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	got, err := io.ReadAll(resp.Body)
	switch {
	case err != nil:
		return err
	case resp.StatusCode != http.StatusOK:
		return fmt.Errorf("the answer was %s", resp.Status)
	case string(got) != body:
		return fmt.Errorf("%d bytes came back of %d", len(got), size)
	}
	return nil
}
