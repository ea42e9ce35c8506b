package tholetest

import (
	"context"
	"net"
	"os"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// ConnFaults says what is wrong with one end of a connection: with what it sends. Counts of
// bytes that are 0 are off, negative ones strike before the first byte.
type ConnFaults struct {
	_ [0]func()

	// Latency passes before each Write takes effect, and before each Read returns.
	Latency time.Duration

	// BytesPerSecond bounds the speed at which Write sends: a slow body. 0 means no bound.
	BytesPerSecond int

	// ResetAfter is after how many bytes sent the connection is reset: the other end gets
	// ECONNRESET, and so does this one.
	ResetAfter int64

	// CloseAfter is after how many bytes sent the connection is closed, as if this end had
	// finished: a truncated answer.
	CloseAfter int64

	// HangAfter is after how many bytes sent nothing more goes out, until the deadline or
	// Close.
	HangAfter int64
}

// NewConn puts faults into c. Deadlines and Close end its waits.
func NewConn(c net.Conn, f ConnFaults) net.Conn {
	return &faultConn{Conn: c, faults: f, closed: make(chan struct{}), reads: newDeadline(), writes: newDeadline()}
}

// NewListener puts faults into the connections that l accepts: into the n-th, from 0, those
// that faults returns for n. What such a server sends is then slow, cut off, or reset.
func NewListener(l net.Listener, faults func(n int) ConnFaults) net.Listener {
	return &faultListener{Listener: l, faults: faults}
}

// NewDialer puts faults into the connections that dial makes, as NewListener does for those
// that are accepted: into what the client sends.
func NewDialer(
	dial func(ctx context.Context, network, address string) (net.Conn, error), faults func(n int) ConnFaults,
) func(ctx context.Context, network, address string) (net.Conn, error) {
	var made atomic.Int64
	return func(ctx context.Context, network, address string) (net.Conn, error) {
		c, err := dial(ctx, network, address)
		if err != nil {
			return nil, err
		}
		return NewConn(c, faults(int(made.Add(1)-1))), nil
	}
}

type faultListener struct {
	net.Listener
	faults   func(n int) ConnFaults
	accepted atomic.Int64
}

// Accept returns the next connection, with its faults.
func (l *faultListener) Accept() (net.Conn, error) {
	c, err := l.Listener.Accept()
	if err != nil {
		return nil, err
	}
	return NewConn(c, l.faults(int(l.accepted.Add(1)-1))), nil
}

type faultConn struct {
	net.Conn
	faults ConnFaults
	once   sync.Once
	closed chan struct{}
	reads  *deadline
	writes *deadline

	mu   sync.Mutex
	sent int64
}

// Read reads, and then waits for Latency.
func (c *faultConn) Read(p []byte) (int, error) {
	n, err := c.Conn.Read(p)
	if n > 0 {
		// What was read is not lost if the wait is cut short.
		_ = c.pause(c.faults.Latency, c.reads)
	}
	return n, err
}

// Write sends what the faults let through, in pieces if the speed is bounded.
func (c *faultConn) Write(p []byte) (n int, err error) {
	if err := c.pause(c.faults.Latency, c.writes); err != nil {
		return 0, c.opError(err)
	}
	for {
		piece, strike := c.next(len(p) - n)
		if piece > 0 {
			sent, err := c.send(p[n : n+piece])
			n += sent
			if err != nil {
				return n, err
			}
		}
		switch {
		case strike != nil:
			return n, c.opError(strike())
		case n >= len(p):
			return n, nil
		}
	}
}

// next returns how many of the next n bytes may be sent at once, and what strikes then.
func (c *faultConn) next(n int) (piece int, strike func() error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	piece = n
	for _, f := range []struct {
		after  int64
		strike func() error
	}{{c.faults.HangAfter, c.hang}, {c.faults.CloseAfter, c.finish}, {c.faults.ResetAfter, c.reset}} {
		if f.after == 0 {
			continue
		}
		if left := max(f.after, 0) - c.sent; left <= int64(piece) {
			piece, strike = int(max(left, 0)), f.strike
		}
	}
	if speed := c.faults.BytesPerSecond; speed > 0 {
		if tick := max(speed/pieces, 1); tick < piece {
			piece, strike = tick, nil
		}
	}
	return piece, strike
}

// pieces is how many pieces a second's worth of bytes is sent in.
const pieces = 10

func (c *faultConn) send(p []byte) (int, error) {
	if speed := c.faults.BytesPerSecond; speed > 0 {
		if err := c.pause(time.Duration(len(p))*time.Second/time.Duration(speed), c.writes); err != nil {
			return 0, c.opError(err)
		}
	}
	n, err := c.Conn.Write(p)
	c.mu.Lock()
	c.sent += int64(n)
	c.mu.Unlock()
	return n, err
}

func (c *faultConn) hang() error { return c.pause(-1, c.writes) }

func (c *faultConn) finish() error {
	_ = c.Close()
	return net.ErrClosed
}

func (c *faultConn) reset() error {
	switch under := c.Conn.(type) {
	case interface{ Reset() }:
		under.Reset()
	case interface{ SetLinger(sec int) error }:
		_ = under.SetLinger(0) // a TCP connection closed like this sends RST
	}
	_ = c.Close()
	return syscall.ECONNRESET
}

// pause waits for d, for ever if it is negative, unless Close or the deadline comes first.
func (c *faultConn) pause(d time.Duration, until *deadline) error {
	if d == 0 {
		return nil
	}
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	for {
		expired, moved := until.wait()
		select {
		case <-over:
			return nil
		case <-c.closed:
			return net.ErrClosed
		case <-expired:
			return os.ErrDeadlineExceeded
		case <-moved:
		}
	}
}

func (c *faultConn) opError(err error) error {
	return &net.OpError{Op: "write", Net: c.LocalAddr().Network(), Source: c.LocalAddr(), Addr: c.RemoteAddr(), Err: err}
}

// Close ends the connection and every wait.
func (c *faultConn) Close() error {
	c.once.Do(func() {
		close(c.closed)
		c.reads.set(time.Time{})
		c.writes.set(time.Time{})
	})
	return c.Conn.Close()
}

// SetDeadline implements net.Conn.
func (c *faultConn) SetDeadline(t time.Time) error {
	c.reads.set(t)
	c.writes.set(t)
	return c.Conn.SetDeadline(t)
}

// SetReadDeadline implements net.Conn.
func (c *faultConn) SetReadDeadline(t time.Time) error {
	c.reads.set(t)
	return c.Conn.SetReadDeadline(t)
}

// SetWriteDeadline implements net.Conn.
func (c *faultConn) SetWriteDeadline(t time.Time) error {
	c.writes.set(t)
	return c.Conn.SetWriteDeadline(t)
}
