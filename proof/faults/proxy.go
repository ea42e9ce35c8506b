package faults

import (
	"errors"
	"net"
	"sync"
	"sync/atomic"
	"time"
)

// Faults is what a [Proxy] does to what passes through it, in either direction.
type Faults struct {
	Latency        time.Duration // each piece of data is late by this
	BytesPerSecond int           // 0 = as fast as it goes
	ResetAfter     int           // bytes of answers after which a connection is reset; 0 = never
	Swallow        bool          // answers are lost, and the server is told that the client has closed
	CloseAfter     time.Duration // the end of a stream of data is passed on so much later
}

// Proxy is a TCP proxy with faults, which may be changed at any time. It can be made with
// [NewProxy] only.
type Proxy struct {
	target string
	addr   string
	faults atomic.Pointer[Faults]

	mu       sync.Mutex
	listener net.Listener // nil while down
	links    map[*link]bool
	running  sync.WaitGroup

	accepted atomic.Int64
}

// link is one connection through the proxy.
type link struct {
	client, server net.Conn
	quit           chan struct{} // closed when it is cut
	once           sync.Once
}

const anyPort = "127.0.0.1:0"

// NewProxy returns a proxy to target, a TCP address, on a free port of this host.
func NewProxy(target string) (*Proxy, error) {
	p := &Proxy{target: target, addr: anyPort, links: map[*link]bool{}}
	p.Set(Faults{})
	return p, p.Up()
}

// Addr returns the address that the proxy listens on; it stays the same through Down and Up.
func (p *Proxy) Addr() string { return p.addr }

// Set puts f in force, for the data to come on connections that exist too.
func (p *Proxy) Set(f Faults) { p.faults.Store(&f) }

// Accepted returns how many connections there have been.
func (p *Proxy) Accepted() int { return int(p.accepted.Load()) }

// Open returns how many connections there are.
func (p *Proxy) Open() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.links)
}

// Up listens, if the proxy does not.
func (p *Proxy) Up() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil {
		return nil
	}
	l, err := net.Listen("tcp", p.addr)
	if err != nil {
		return err
	}
	if p.addr == anyPort { // Addr may be called at any time, so not again
		p.addr = l.Addr().String()
	}
	p.listener = l
	p.running.Go(func() { p.accept(l) })
	return nil
}

// Down stops to listen and resets all connections.
func (p *Proxy) Down() {
	p.mu.Lock()
	if p.listener != nil {
		p.listener.Close()
		p.listener = nil
	}
	p.mu.Unlock()
	p.Reset()
}

// Reset resets all connections.
func (p *Proxy) Reset() {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		l.cut(true)
	}
}

// Close is Down, and returns when nothing of the proxy runs any more.
func (p *Proxy) Close() {
	p.Down()
	p.running.Wait()
}

func (p *Proxy) accept(l net.Listener) {
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return
		} else if err != nil {
			continue
		}
		p.accepted.Add(1)
		p.running.Go(func() { p.serve(conn) })
	}
}

func (p *Proxy) serve(conn net.Conn) {
	server, err := net.Dial("tcp", p.target)
	if err != nil {
		conn.Close()
		return
	}
	l := &link{client: conn, server: server, quit: make(chan struct{})}
	p.mu.Lock()
	p.links[l] = true
	down := p.listener == nil
	p.mu.Unlock()
	if down {
		l.cut(true)
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, l.server, l.client, false) })
	both.Go(func() { p.pump(l, l.client, l.server, true) })
	both.Wait()
	l.cut(false)
	p.mu.Lock()
	delete(p.links, l)
	p.mu.Unlock()
}

// pump passes data on from one end to the other, and its end.
func (p *Proxy) pump(l *link, to, from net.Conn, answers bool) {
	buf := make([]byte, 4<<10)
	passed, told := 0, false
	for {
		n, err := from.Read(buf)
		f := p.faults.Load()
		switch {
		case err != nil:
			l.sleep(f.CloseAfter)
			to.(*net.TCPConn).CloseWrite()
			return
		case answers && f.Swallow:
			if !told {
				told = true
				from.(*net.TCPConn).CloseWrite() // half closed: the server has seen the last of the client
			}
			continue
		}
		l.sleep(f.Latency)
		if f.BytesPerSecond > 0 {
			l.sleep(time.Duration(n) * time.Second / time.Duration(f.BytesPerSecond))
		}
		if answers && f.ResetAfter > 0 && passed+n >= f.ResetAfter {
			to.Write(buf[:max(0, f.ResetAfter-passed)])
			l.cut(true)
			return
		}
		if _, err := to.Write(buf[:n]); err != nil {
			l.cut(false)
			return
		}
		passed += n
	}
}

// sleep returns after d, or as soon as the link is cut.
func (l *link) sleep(d time.Duration) {
	if d <= 0 {
		return
	}
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
	case <-l.quit:
	}
}

// cut closes both ends; by a reset, if asked for.
func (l *link) cut(reset bool) {
	l.once.Do(func() {
		close(l.quit)
		for _, c := range []net.Conn{l.client, l.server} {
			if reset {
				c.(*net.TCPConn).SetLinger(0)
			}
			c.Close()
		}
	})
}
