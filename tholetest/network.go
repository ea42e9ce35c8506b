package tholetest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
	"syscall"
	"time"
)

// A Network is a network in memory, which works inside synctest bubbles. Connections have a
// buffer of 64 KiB in each direction, deadlines, half closing, and resets; what goes wrong is
// told by the errors of real ones: a *net.OpError around syscall.ECONNREFUSED when nobody
// listens, ECONNRESET, EPIPE, os.ErrDeadlineExceeded, net.ErrClosed. It is safe for
// concurrent use. The zero Network has no listeners.
type Network struct {
	mu        sync.Mutex
	listeners map[string]*listener
	ports     int
}

// Listen listens at an address, which is any string of the form host:port that is not in
// use; dialling the same string reaches it. An empty one gets an address of its own. In its
// queue 128 connections have room until they are accepted.
func (n *Network) Listen(address string) (net.Listener, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	if address == "" {
		n.ports++
		address = fmt.Sprintf("server%d:80", n.ports)
	}
	if n.listeners[address] != nil {
		return nil, &net.OpError{Op: "listen", Net: networkName, Addr: addr(address), Err: syscall.EADDRINUSE}
	}
	l := &listener{network: n, address: addr(address), queue: make(chan *conn, 128), closed: make(chan struct{})}
	if n.listeners == nil {
		n.listeners = make(map[string]*listener)
	}
	n.listeners[address] = l
	return l, nil
}

// DialContext connects to the listener at an address. It waits while the queue is full. The
// network's name is of no importance. It fits http.Transport.DialContext.
func (n *Network) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	refuse := func(err error) (net.Conn, error) {
		return nil, &net.OpError{Op: "dial", Net: networkName, Addr: addr(address), Err: err}
	}
	if err := ctx.Err(); err != nil {
		return refuse(err)
	}
	n.mu.Lock()
	l := n.listeners[address]
	n.ports++
	local := addr(fmt.Sprintf("client%d:80", n.ports))
	n.mu.Unlock()
	if l == nil {
		return refuse(syscall.ECONNREFUSED)
	}
	ours, theirs := pipe(local, l.address)
	select {
	case <-l.closed:
		return refuse(syscall.ECONNREFUSED)
	default:
	}
	select {
	case l.queue <- theirs:
		select {
		case <-l.closed:
			l.drain() // closed meanwhile, and perhaps too early to see it
		default:
		}
		return ours, nil
	case <-l.closed:
		return refuse(syscall.ECONNREFUSED)
	case <-ctx.Done():
		return refuse(ctx.Err())
	}
}

// Dial is DialContext without a context.
func (n *Network) Dial(network, address string) (net.Conn, error) {
	return n.DialContext(context.Background(), network, address)
}

// Transport returns a new http.Transport that dials in this network. Close its idle
// connections before the bubble ends: a connection has goroutines.
func (n *Network) Transport() *http.Transport {
	return &http.Transport{DialContext: n.DialContext, MaxIdleConnsPerHost: 100}
}

// Pipe returns the two ends of a connection, as from a Network.
func Pipe() (net.Conn, net.Conn) {
	return pipe("client:80", "server:80")
}

const networkName = "memory"

type addr string

func (a addr) Network() string { return networkName }
func (a addr) String() string  { return string(a) }

type listener struct {
	network *Network
	address addr
	queue   chan *conn
	once    sync.Once
	closed  chan struct{}
}

// Accept returns the next connection.
func (l *listener) Accept() (net.Conn, error) {
	select {
	case <-l.closed:
	default:
		select {
		case c := <-l.queue:
			return c, nil
		case <-l.closed:
		}
	}
	return nil, &net.OpError{Op: "accept", Net: networkName, Addr: l.address, Err: net.ErrClosed}
}

// Close resets the connections in the queue, as the kernel does.
func (l *listener) Close() error {
	err := error(&net.OpError{Op: "close", Net: networkName, Addr: l.address, Err: net.ErrClosed})
	l.once.Do(func() {
		err = nil
		l.network.mu.Lock()
		delete(l.network.listeners, string(l.address))
		l.network.mu.Unlock()
		close(l.closed)
		l.drain()
	})
	return err
}

func (l *listener) drain() {
	for {
		select {
		case c := <-l.queue:
			c.Reset()
		default:
			return
		}
	}
}

func (l *listener) Addr() net.Addr { return l.address }

// conn is one end of a connection.
type conn struct {
	local, remote addr
	in, out       *stream
	once          sync.Once
	closed        chan struct{}
	reads, writes *deadline
}

func pipe(a, b addr) (*conn, *conn) {
	ab, ba := newStream(), newStream()
	return newConn(a, b, ba, ab), newConn(b, a, ab, ba)
}

func newConn(local, remote addr, in, out *stream) *conn {
	return &conn{
		local: local, remote: remote, in: in, out: out, closed: make(chan struct{}),
		reads: newDeadline(), writes: newDeadline(),
	}
}

// Read implements net.Conn.
func (c *conn) Read(p []byte) (int, error) {
	n, err := c.in.read(p, c.closed, c.reads)
	return n, c.wrap("read", err)
}

// Write implements net.Conn.
func (c *conn) Write(p []byte) (int, error) {
	n, err := c.out.write(p, c.closed, c.writes)
	return n, c.wrap("write", err)
}

// wrap makes err the error of an operation, unless it is the plain end.
func (c *conn) wrap(op string, err error) error {
	var no syscall.Errno
	if err == nil || !errors.As(err, &no) && !errors.Is(err, net.ErrClosed) && !isTimeout(err) {
		return err
	}
	return &net.OpError{Op: op, Net: networkName, Source: c.local, Addr: c.remote, Err: err}
}

func isTimeout(err error) bool {
	t, ok := err.(interface{ Timeout() bool })
	return ok && t.Timeout()
}

// Close ends both directions. What was written before can still be read at the other end.
func (c *conn) Close() error {
	err := c.wrap("close", net.ErrClosed)
	c.once.Do(func() {
		err = nil
		close(c.closed)
		c.reads.set(time.Time{}) // no timer is left
		c.writes.set(time.Time{})
		c.out.change(func() { c.out.ended = true })
		c.in.change(func() { c.in.closed, c.in.data = true, nil })
	})
	return err
}

// CloseWrite ends the direction from here to there, as *net.TCPConn has it.
func (c *conn) CloseWrite() error {
	c.out.change(func() { c.out.ended = true })
	return nil
}

// Reset ends the connection. The other end can still read what was sent (so that tests know
// what it gets), and then meets ECONNRESET.
func (c *conn) Reset() {
	for _, s := range []*stream{c.in, c.out} {
		s.change(func() { s.reset = true })
	}
	_ = c.Close()
}

func (c *conn) LocalAddr() net.Addr  { return c.local }
func (c *conn) RemoteAddr() net.Addr { return c.remote }

// SetDeadline implements net.Conn.
func (c *conn) SetDeadline(t time.Time) error {
	c.reads.set(t)
	c.writes.set(t)
	return nil
}

// SetReadDeadline implements net.Conn.
func (c *conn) SetReadDeadline(t time.Time) error { c.reads.set(t); return nil }

// SetWriteDeadline implements net.Conn.
func (c *conn) SetWriteDeadline(t time.Time) error { c.writes.set(t); return nil }
