package main

import (
	"context"
	"errors"
	"slices"
	"sync"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/protobuf/types/known/wrapperspb"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholegrpc"
)

// call is what came of one call.
type call struct {
	began time.Duration // since the first
	took  time.Duration
	err   error
}

func (c call) refused() bool { return errors.Is(c.err, thole.ErrRejected) }

// client makes calls, through a policy or not, to a server of its own.
type client struct {
	conn   *grpc.ClientConn
	server *server
}

func dial(s *server, p thole.Policy) (*client, error) {
	opts := []grpc.DialOption{grpc.WithTransportCredentials(insecure.NewCredentials())}
	if p != nil {
		// The proto file would say so, by option idempotency_level = NO_SIDE_EFFECTS.
		fetchIsRead := tholegrpc.WithRepeatable(tholegrpc.Methods(fetch))
		opts = append(opts, tholegrpc.DialOptions(p, fetchIsRead)...)
	}
	conn, err := grpc.NewClient("passthrough:///"+s.addr, opts...)
	if err != nil {
		return nil, err
	}
	c := &client{conn, s}
	return c, c.once(context.Background()) // so that the connection is there
}

func (c *client) once(ctx context.Context) error {
	reply := new(wrapperspb.StringValue)
	return c.conn.Invoke(ctx, fetch, wrapperspb.String("tea"), reply)
}

// calls makes n calls, one each interval whatever became of those before, each with a deadline.
func (c *client) calls(ctx context.Context, n int, interval, deadline time.Duration) []call {
	log := make([]call, n)
	var running sync.WaitGroup
	begin := time.Now()
	tick := time.NewTicker(interval)
	defer tick.Stop()
	for i := range n {
		running.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, deadline)
			defer cancel()
			began := time.Now()
			err := c.once(ctx)
			log[i] = call{began.Sub(begin), time.Since(began), err}
		})
		<-tick.C
	}
	running.Wait()
	return log
}

// quantile returns how long the q-th of the calls took.
func quantile(calls []call, q float64) time.Duration {
	if len(calls) == 0 {
		return 0
	}
	took := make([]time.Duration, len(calls))
	for i, c := range calls {
		took[i] = c.took
	}
	slices.Sort(took)
	return took[int(q*float64(len(took)-1)+0.5)]
}

// those returns the calls that are.
func those(calls []call, are func(call) bool) []call {
	return slices.DeleteFunc(slices.Clone(calls), func(c call) bool { return !are(c) })
}
