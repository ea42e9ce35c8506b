package tholetest_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/standard"
	"github.com/thole-go/thole/tholehttp"
	"github.com/thole-go/thole/tholetest"
)

func ExampleScript() {
	dependency := tholetest.NewScript(
		tholetest.Fail(errors.New("connection refused")),
		tholetest.Succeed(),
	)
	p := retry.New(retry.Config{Backoff: retry.Constant(0)})
	err := p.Do(context.Background(), dependency.Call)
	fmt.Println(err, "after", dependency.Count(), "calls")
	for _, c := range dependency.Calls() {
		fmt.Println(c.Attempt.Number, c.Err)
	}
	// Output:
	// <nil> after 2 calls
	// 0 connection refused
	// 1 <nil>
}

func ExampleRecorder() {
	var rec tholetest.Recorder
	cfg := breaker.Config{ConsecutiveFailures: 2}
	rec.Hook("OnStateChange", &cfg.OnStateChange)
	b := breaker.New(cfg)

	dependency := tholetest.NewScript(tholetest.Fail(errors.New("down")))
	for range 3 {
		_ = b.Do(context.Background(), dependency.Call)
	}
	fmt.Print(&rec)
	fmt.Println(dependency.Count(), "calls")
	// Output:
	// OnStateChange(closed, open)
	// 2 calls
}

func ExampleNewRoundTripper() {
	faults := tholetest.NewRoundTripper(nil,
		tholetest.HTTPFault{Status: 503},
		tholetest.HTTPFault{Status: 200, Body: "hello"},
	)
	p := retry.New(retry.Config{Backoff: retry.Constant(0)})
	client := &http.Client{Transport: tholehttp.NewTransport(faults, p, tholehttp.TransportConfig{})}

	resp, err := client.Get("http://example.test/")
	if err != nil {
		fmt.Println(err)
		return
	}
	body, _ := io.ReadAll(resp.Body)
	resp.Body.Close()
	fmt.Println(resp.StatusCode, string(body))
	fmt.Println(faults.Requests(), "requests,", faults.OpenBodies(), "bodies open")
	// Output:
	// 200 hello
	// 2 requests, 0 bodies open
}

func ExampleNetwork() {
	var network tholetest.Network
	l, err := network.Listen("echo:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = io.Copy(c, c)
		}
	}()
	c, err := network.Dial("tcp", "echo:7")
	if err != nil {
		fmt.Println(err)
		return
	}
	defer c.Close()
	fmt.Fprint(c, "hello")
	buf := make([]byte, 5)
	_, _ = io.ReadFull(c, buf)
	fmt.Println(string(buf))

	_, err = network.Dial("tcp", "nobody:7")
	fmt.Println(err)
	// Output:
	// hello
	// dial memory nobody:7: connection refused
}

func ExampleNewConn() {
	a, b := tholetest.Pipe()
	faulty := tholetest.NewConn(a, tholetest.ConnFaults{ResetAfter: 5})
	_, err := faulty.Write([]byte("hello, world"))
	fmt.Println(err)
	got, err := io.ReadAll(b)
	fmt.Println(string(got), err)
	// Output:
	// write memory client:80->server:80: connection reset by peer
	// hello read memory server:80->client:80: connection reset by peer
}

// An http.Client, its policies and an http.Server live through an outage, in no time.
func TestDocs_clientAndServerInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var network tholetest.Network
		l, err := network.Listen("payments:80")
		require.NoError(t, err)
		start := time.Now()
		server := &http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if time.Since(start) < time.Minute {
				w.WriteHeader(http.StatusInternalServerError) // an outage of a minute
			}
		})}
		// Every third connection is reset before its answer.
		faulty := tholetest.NewListener(l, func(n int) tholetest.ConnFaults {
			if n%3 == 2 {
				return tholetest.ConnFaults{ResetAfter: -1}
			}
			return tholetest.ConnFaults{}
		})
		go func() { _ = server.Serve(faulty) }()
		base := network.Transport()
		defer server.Close()
		defer base.CloseIdleConnections()
		client := &http.Client{Transport: tholehttp.NewTransport(base, standard.Client(), tholehttp.TransportConfig{})}

		open := 0
		for time.Since(start) < time.Minute {
			resp, err := client.Get("http://payments/")
			if errors.Is(err, breaker.ErrOpen) {
				open++
			}
			if err == nil {
				_ = resp.Body.Close()
			}
			time.Sleep(100 * time.Millisecond)
		}
		assert.Positive(t, open, "the circuit was open")

		time.Sleep(10 * time.Second) // the longest open time
		resp, err := client.Get("http://payments/")
		require.NoError(t, err)
		assert.Equal(t, http.StatusOK, resp.StatusCode)
		_ = resp.Body.Close()
	})
}

// That a policy waits as long as it should costs a test no time.
func TestDocs_scriptInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		dependency := tholetest.NewScript(
			tholetest.Fail(errDown),
			tholetest.Sleep(time.Minute), // ended by the deadline of the attempt
			tholetest.Succeed(),
		)
		p := retry.New(retry.Config{Backoff: retry.Constant(5 * time.Second)})
		start := time.Now()
		err := p.Do(t.Context(), func(ctx context.Context) error {
			ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
			defer cancel()
			return dependency.Call(ctx)
		})
		require.NoError(t, err)
		tholetest.AssertAttempts(t, dependency, 3)
		assert.Equal(t, (5+10+5)*time.Second, time.Since(start))
	})
}
