package main

import (
	"fmt"
	"math/rand/v2"
	"net"
	"net/http"
	"time"
)

// network is what lies between clients and servers.
type network interface {
	// address finds a free address.
	address() (string, error)
	// listen takes the address, which may have been in use before.
	listen(address string) (net.Listener, error)
	// transport is what all http.Clients stand on.
	transport() *http.Transport
}

// loopback is the real one.
type loopback struct{}

// address chooses a port that the system gives to no outgoing connection, so that the
// server still finds it free when it comes back from the dead.
func (loopback) address() (string, error) {
	for range 100 {
		addr := fmt.Sprintf("127.0.0.1:%d", 20_000+rand.IntN(10_000))
		if l, err := net.Listen("tcp", addr); err == nil {
			return addr, l.Close()
		}
	}
	return "", fmt.Errorf("no free port on 127.0.0.1 from 20000 to 29999")
}

// listen gives the system a moment to let go of the port.
func (loopback) listen(address string) (l net.Listener, err error) {
	for range 20 {
		if l, err = net.Listen("tcp", address); err == nil {
			return l, nil
		}
		time.Sleep(10 * time.Millisecond)
	}
	return nil, err
}

// transport is http.DefaultTransport, but keeps more than two idle connections to a host:
// so few make every busy client dial again and again.
func (loopback) transport() *http.Transport {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.MaxIdleConnsPerHost = 100
	return t
}
