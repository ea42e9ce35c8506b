package tholetest_test

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/tholetest"
)

func TestPipe_carriesBytesBothWays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		defer a.Close()
		defer b.Close()
		n, err := a.Write([]byte("ping"))
		require.NoError(t, err, "there is a buffer: nobody need read")
		assert.Equal(t, 4, n)
		_, _ = b.Write([]byte("pong"))
		buf := make([]byte, 3)
		n, err = b.Read(buf)
		require.NoError(t, err)
		assert.Equal(t, "pin", string(buf[:n]))
		n, _ = b.Read(buf)
		assert.Equal(t, "g", string(buf[:n]))
		n, _ = a.Read(buf)
		assert.Equal(t, "pon", string(buf[:n]))
		assert.Equal(t, "memory", a.LocalAddr().Network())
		assert.Equal(t, a.LocalAddr(), b.RemoteAddr())
	})
}

// Much more than the buffer passes whole, with the writer waiting for the reader.
func TestPipe_largeTransfer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		sent := bytes.Repeat([]byte("0123456789abcdef"), 1<<16) // 1 MiB
		go func() {
			n, err := a.Write(sent)
			assert.NoError(t, err)
			assert.Equal(t, len(sent), n)
			_ = a.Close()
		}()
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		assert.True(t, bytes.Equal(sent, got))
		require.NoError(t, b.Close())
	})
}

func TestPipe_writerWaitsForRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		defer b.Close()
		defer a.Close()
		require.NoError(t, a.SetWriteDeadline(time.Now().Add(time.Second)))
		n, err := a.Write(make([]byte, 100<<10))
		assert.Equal(t, 64<<10, n)
		assertTimeout(t, err)
	})
}

func assertTimeout(t *testing.T, err error) {
	t.Helper()
	assert.ErrorIs(t, err, os.ErrDeadlineExceeded)
	var ne net.Error
	require.ErrorAs(t, err, &ne)
	assert.True(t, ne.Timeout())
}

func TestPipe_deadlines(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		defer a.Close()
		defer b.Close()
		start := time.Now()
		require.NoError(t, a.SetReadDeadline(start.Add(time.Second)))
		_, err := a.Read(make([]byte, 1))
		assertTimeout(t, err)
		assert.Equal(t, time.Second, time.Since(start))

		_, err = a.Read(make([]byte, 1))
		assertTimeout(t, err)
		assert.Equal(t, time.Second, time.Since(start), "it stays passed")

		// Moved while a Read waits: later, and then into the past, as http.Server does it.
		require.NoError(t, a.SetDeadline(start.Add(time.Hour)))
		time.AfterFunc(time.Minute, func() { _ = a.SetReadDeadline(time.Unix(1, 0)) })
		_, err = a.Read(make([]byte, 1))
		assertTimeout(t, err)
		assert.Equal(t, time.Minute+time.Second, time.Since(start))

		require.NoError(t, a.SetDeadline(time.Time{}))
		time.AfterFunc(2*time.Hour, func() { _, _ = b.Write([]byte("x")) })
		_, err = a.Read(make([]byte, 1))
		assert.NoError(t, err)
	})
}

func TestPipe_close(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		waiting := make(chan error)
		go func() {
			_, err := a.Read(make([]byte, 1))
			waiting <- err
		}()
		_, _ = a.Write([]byte("last words"))
		synctest.Wait()
		require.NoError(t, a.Close())
		assert.ErrorIs(t, <-waiting, net.ErrClosed, "a Read that waits ends")
		assert.ErrorIs(t, a.Close(), net.ErrClosed)
		_, err := a.Write([]byte("x"))
		assert.ErrorIs(t, err, net.ErrClosed)

		got, err := io.ReadAll(b)
		require.NoError(t, err)
		assert.Equal(t, "last words", string(got))
		_, err = b.Write([]byte("x"))
		assert.ErrorIs(t, err, syscall.EPIPE)
		require.NoError(t, b.Close())
	})
}

func TestPipe_halfCloseAndReset(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		a, b := tholetest.Pipe()
		require.NoError(t, a.(interface{ CloseWrite() error }).CloseWrite())
		got, err := io.ReadAll(b)
		require.NoError(t, err)
		assert.Empty(t, got)
		_, err = b.Write([]byte("answer"))
		require.NoError(t, err)
		buf := make([]byte, 10)
		n, _ := a.Read(buf)
		assert.Equal(t, "answer", string(buf[:n]))

		a.(interface{ Reset() }).Reset()
		_, err = b.Write([]byte("x"))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, "write", op.Op)
		_ = b.Close()
	})
}

func TestNetwork_dialAndListen(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		_, err := n.Dial("tcp", "db:5432")
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		var op *net.OpError
		require.ErrorAs(t, err, &op)
		assert.Equal(t, "dial", op.Op)

		l, err := n.Listen("db:5432")
		require.NoError(t, err)
		_, err = n.Listen("db:5432")
		assert.ErrorIs(t, err, syscall.EADDRINUSE)
		assert.Equal(t, "db:5432", l.Addr().String())

		c, err := n.Dial("tcp", "db:5432")
		require.NoError(t, err, "the queue has room: nobody need accept")
		s, err := l.Accept()
		require.NoError(t, err)
		_, _ = c.Write([]byte("x"))
		_, err = s.Read(make([]byte, 1))
		require.NoError(t, err)
		require.NoError(t, s.Close())
		require.NoError(t, c.Close())

		queued, err := n.Dial("tcp", "db:5432")
		require.NoError(t, err)
		require.NoError(t, l.Close())
		_, err = queued.Read(make([]byte, 1))
		assert.ErrorIs(t, err, syscall.ECONNRESET)
		_, err = l.Accept()
		assert.ErrorIs(t, err, net.ErrClosed)
		assert.ErrorIs(t, l.Close(), net.ErrClosed)
		_, err = n.Dial("tcp", "db:5432")
		assert.ErrorIs(t, err, syscall.ECONNREFUSED)
		again, err := n.Listen("db:5432")
		require.NoError(t, err)
		require.NoError(t, again.Close())

		own, err := n.Listen("")
		require.NoError(t, err)
		assert.NotEmpty(t, own.Addr().String())
		require.NoError(t, own.Close())
	})
}

func TestNetwork_dialObeysItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		l, err := n.Listen("busy:80")
		require.NoError(t, err)
		for range 128 {
			_, err := n.Dial("tcp", "busy:80")
			require.NoError(t, err)
		}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		_, err = n.DialContext(ctx, "tcp", "busy:80")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		_, err = n.DialContext(ctx, "tcp", "busy:80")
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		require.NoError(t, l.Close())
	})
}

// serve runs an HTTP server in the network until the test ends. wrap may be nil.
func serve(t *testing.T, n *tholetest.Network, h http.HandlerFunc, wrap func(net.Listener) net.Listener) *http.Client {
	t.Helper()
	l, err := n.Listen("web:80")
	require.NoError(t, err)
	if wrap != nil {
		l = wrap(l)
	}
	server := &http.Server{Handler: h}
	tr := n.Transport()
	var wg sync.WaitGroup
	wg.Go(func() { _ = server.Serve(l) })
	t.Cleanup(func() {
		tr.CloseIdleConnections()
		_ = server.Close()
		wg.Wait()
	})
	return &http.Client{Transport: tr}
}

func hello(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "hello, world") }

func TestNetwork_carriesHTTPInABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		client := serve(t, &n, func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Hour) // of virtual time
			_, _ = io.Copy(w, r.Body)
		}, nil)
		start := time.Now()
		body := strings.Repeat("x", 1<<20)
		for range 3 {
			resp, err := client.Post("http://web/", "text/plain", strings.NewReader(body))
			require.NoError(t, err)
			got, err := io.ReadAll(resp.Body)
			require.NoError(t, err)
			require.NoError(t, resp.Body.Close())
			assert.Equal(t, body, string(got))
		}
		assert.Equal(t, 3*time.Hour, time.Since(start))

		ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
		defer cancel()
		req, _ := http.NewRequestWithContext(ctx, http.MethodGet, "http://web/", nil)
		_, err := client.Do(req)
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, 3*time.Hour+time.Minute, time.Since(start))
		time.Sleep(time.Hour)
	})
}

func TestNetwork_carriesHTTP2InABubble(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n tholetest.Network
		l, err := n.Listen("web:80")
		require.NoError(t, err)
		protocols := new(http.Protocols)
		protocols.SetUnencryptedHTTP2(true)
		server := &http.Server{Protocols: protocols, Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			time.Sleep(time.Minute)
			_, _ = io.WriteString(w, r.Proto)
		})}
		var wg sync.WaitGroup
		wg.Go(func() { _ = server.Serve(l) })
		tr := n.Transport()
		tr.Protocols = protocols
		start := time.Now()
		var calls sync.WaitGroup
		for range 5 {
			calls.Go(func() {
				body, err := get(t, &http.Client{Transport: tr})
				assert.NoError(t, err)
				assert.Equal(t, "HTTP/2.0", body)
			})
		}
		calls.Wait()
		assert.Equal(t, time.Minute, time.Since(start), "side by side")
		tr.CloseIdleConnections()
		_ = server.Close()
		wg.Wait()
	})
}
