package main

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"sync"
)

// pipes is a network in memory, so that a storm can pass in the virtual time of a synctest
// bubble, where no machine is ever busy.
type pipes struct {
	mu        sync.Mutex
	addresses int
	listeners map[string]*pipeListener
}

func (p *pipes) address() (string, error) {
	p.addresses++
	return fmt.Sprintf("server%d:80", p.addresses), nil
}

func (p *pipes) listen(address string) (net.Listener, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	l := &pipeListener{conns: make(chan net.Conn), closed: make(chan struct{})}
	if p.listeners == nil {
		p.listeners = make(map[string]*pipeListener)
	}
	p.listeners[address] = l
	return l, nil
}

func (p *pipes) transport() *http.Transport {
	return &http.Transport{MaxIdleConnsPerHost: 100, DialContext: p.dial}
}

var errRefused = errors.New("connection refused")

func (p *pipes) dial(ctx context.Context, _, address string) (net.Conn, error) {
	p.mu.Lock()
	l := p.listeners[address]
	p.mu.Unlock()
	if l == nil {
		return nil, errRefused
	}
	ours, theirs := net.Pipe()
	select {
	case l.conns <- theirs:
		return ours, nil
	case <-l.closed:
		return nil, errRefused
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

type pipeListener struct {
	conns  chan net.Conn
	once   sync.Once
	closed chan struct{}
}

func (l *pipeListener) Accept() (net.Conn, error) {
	select {
	case c := <-l.conns:
		return c, nil
	case <-l.closed:
		return nil, net.ErrClosed
	}
}

func (l *pipeListener) Close() error {
	l.once.Do(func() { close(l.closed) })
	return nil
}

func (l *pipeListener) Addr() net.Addr { return &net.TCPAddr{} }
