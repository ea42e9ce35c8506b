package tholetest_test

import (
	"context"
	"io"
	"net"
	"net/http"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/tholetest"
)

func TestFaults_onAServersConnections(t *testing.T) {
	for name, row := range map[string]struct {
		faults tholetest.ConnFaults
		check  func(t *testing.T, err error, body string, took time.Duration)
	}{
		"none": {tholetest.ConnFaults{}, func(t *testing.T, err error, body string, _ time.Duration) {
			assert.NoError(t, err)
			assert.Equal(t, "hello, world", body)
		}},
		"latency": {tholetest.ConnFaults{Latency: time.Second}, func(t *testing.T, err error, body string, took time.Duration) {
			assert.NoError(t, err)
			assert.Equal(t, "hello, world", body)
			assert.Equal(t, 2*time.Second, took, "once for the request, once for the answer")
		}},
		"reset at once": {tholetest.ConnFaults{ResetAfter: -1}, func(t *testing.T, err error, _ string, _ time.Duration) {
			assert.ErrorIs(t, err, syscall.ECONNRESET)
		}},
		"reset in the body": {tholetest.ConnFaults{ResetAfter: answerLen - 4}, func(t *testing.T, err error, body string, _ time.Duration) {
			assert.ErrorIs(t, err, syscall.ECONNRESET)
			assert.Equal(t, "hello, w", body)
		}},
		"truncated body": {tholetest.ConnFaults{CloseAfter: answerLen - 4}, func(t *testing.T, err error, body string, _ time.Duration) {
			assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
			assert.Equal(t, "hello, w", body)
		}},
		"hang in the body": {tholetest.ConnFaults{HangAfter: answerLen - 4}, func(t *testing.T, err error, body string, took time.Duration) {
			assert.ErrorIs(t, err, context.DeadlineExceeded)
			assert.Equal(t, "hello, w", body)
			assert.Equal(t, time.Hour, took)
		}},
		"slow": {tholetest.ConnFaults{BytesPerSecond: 10}, func(t *testing.T, err error, body string, took time.Duration) {
			assert.NoError(t, err)
			assert.Equal(t, "hello, world", body)
			assert.InDelta(t, float64(answerLen)/10, took.Seconds(), 0.5)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var n tholetest.Network
				client := serve(t, &n, hello, func(l net.Listener) net.Listener {
					return tholetest.NewListener(l, func(int) tholetest.ConnFaults { return row.faults })
				})
				start := time.Now()
				body, err := get(t, client)
				row.check(t, err, body, time.Since(start))
			})
		})
	}
}

// answerLen is what the server's answer has in bytes: "HTTP/1.1 200 OK" and three headers
// with the line ends, and "hello, world".
const answerLen = 17 + 37 + 20 + 41 + 2 + 12

// get returns what of the body could be read, with the first error.
func get(t *testing.T, client *http.Client) (string, error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", nil)
	require.NoError(t, err)
	resp, err := client.Do(req)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	body, err := io.ReadAll(resp.Body)
	return string(body), err
}

func TestFaults_onlySomeConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		client := serve(t, &n, hello, func(l net.Listener) net.Listener {
			return tholetest.NewListener(l, func(n int) tholetest.ConnFaults {
				if n == 0 {
					return tholetest.ConnFaults{ResetAfter: -1}
				}
				return tholetest.ConnFaults{}
			})
		})
		_, err := get(t, client)
		require.Error(t, err)
		body, err := get(t, client)
		require.NoError(t, err)
		assert.Equal(t, "hello, world", body)
	})
}

func TestFaults_onAClientsConnections(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		client := serve(t, &n, hello, nil)
		tr := client.Transport.(*http.Transport)
		tr.DialContext = tholetest.NewDialer(n.DialContext, func(int) tholetest.ConnFaults {
			return tholetest.ConnFaults{Latency: time.Second}
		})
		start := time.Now()
		_, err := get(t, client)
		require.NoError(t, err)
		assert.Equal(t, 2*time.Second, time.Since(start))

		tr.CloseIdleConnections()
		tr.DialContext = tholetest.NewDialer(func(context.Context, string, string) (net.Conn, error) {
			return nil, errDown
		}, nil)
		_, err = get(t, client)
		assert.ErrorIs(t, err, errDown)
	})
}

// Close and deadlines end what a fault waits for.
func TestFaults_waitsEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		defer b.Close()
		c := tholetest.NewConn(a, tholetest.ConnFaults{HangAfter: 2})
		require.NoError(t, c.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := c.Write([]byte("abc"))
		assert.Equal(t, 2, n)
		assertTimeout(t, err)
		require.NoError(t, c.SetDeadline(time.Time{}))
		require.NoError(t, c.SetReadDeadline(time.Time{}))
		time.AfterFunc(time.Hour, func() { _ = c.Close() })
		_, err = c.Write([]byte("c"))
		assert.ErrorIs(t, err, net.ErrClosed)

		d, e := tholetest.Pipe()
		defer e.Close()
		slow := tholetest.NewConn(d, tholetest.ConnFaults{BytesPerSecond: 1})
		time.AfterFunc(1500*time.Millisecond, func() { _ = slow.Close() })
		n, err = slow.Write([]byte("abc"))
		assert.Equal(t, 1, n)
		assert.ErrorIs(t, err, net.ErrClosed)
		late := tholetest.NewConn(d, tholetest.ConnFaults{Latency: time.Hour})
		_ = late.Close()
		_, err = late.Write([]byte("abc"))
		assert.ErrorIs(t, err, net.ErrClosed)
	})
}

// The faults work on the operating system's connections as well.
func TestFaults_resetOfARealConnection(t *testing.T) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	require.NoError(t, err)
	l = tholetest.NewListener(l, func(int) tholetest.ConnFaults { return tholetest.ConnFaults{ResetAfter: -1} })
	defer l.Close()
	go func() {
		c, err := l.Accept()
		if err == nil {
			_, _ = c.Read(make([]byte, 1)) // the client is connected
			_, _ = c.Write([]byte("x"))
		}
	}()
	c, err := net.Dial("tcp", l.Addr().String())
	require.NoError(t, err)
	defer c.Close()
	_, err = c.Write([]byte("x"))
	require.NoError(t, err)
	_, err = c.Read(make([]byte, 1))
	assert.ErrorIs(t, err, syscall.ECONNRESET)
}
