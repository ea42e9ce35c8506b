package main

import (
	"context"
	"io"
	"log"
	"math/rand/v2"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/chaos"
)

// The server's capacity: workers at a time, each piece of work 80 ms on average, so 100
// requests a second. What cannot be worked on at once waits, first come first served.
const (
	workers  = 8
	workTime = 80 * time.Millisecond
	backlog  = 500 // requests that may wait; more are answered 503
	capacity = workers * float64(time.Second) / float64(workTime)
)

// Server is an HTTP server on a port of its own that goes through the storm. Its work is
// sleep, so several servers share a machine without slowing each other down.
type Server struct {
	network network
	addr    string
	weather *Weather
	protect func(http.Handler) http.Handler // what a process puts before its handler; nil for nothing

	arrived      atomic.Int64 // requests that reached a handler, also those reset or refused there
	inside, peak atomic.Int64 // requests that are in the server, waiting or worked on

	faults *chaos.Chaos // the requests that are lost to what ails the server

	mu     sync.Mutex
	chance *rand.Rand
}

func newServer(n network, w *Weather, protect func(http.Handler) http.Handler, seed uint64) (*Server, error) {
	if protect == nil {
		protect = func(h http.Handler) http.Handler { return h }
	}
	addr, err := n.address()
	faults := chaos.New(chaos.Config{
		Name:   "storm",
		Seed:   seed + 1,
		Faults: chaos.Faults{ErrorRatio: blipShare},
		Key:    thole.TargetFrom, // the phase: see harmed
		Keys: map[string]chaos.Faults{
			Failing.String():   {ErrorRatio: illShare},
			Resetting.String(): {ErrorRatio: illShare},
		},
	})
	faults.Enable(0)
	return &Server{
		faults:  faults,
		network: n,
		addr:    addr,
		weather: w,
		protect: protect,
		chance:  rand.New(rand.NewPCG(seed, 1)),
	}, err
}

// Run lets the server live through the weather until ctx ends: it dies when a Dead phase
// comes, and a new process takes its port afterwards.
func (s *Server) Run(ctx context.Context) error {
	var p *process
	defer func() { p.kill() }()
	for _, phase := range s.weather.Forecast {
		if !s.weather.Sleep(ctx, phase.Start) {
			return nil
		}
		if phase.Kind == Dead {
			p.kill()
			p = nil
		} else if p == nil {
			var err error
			if p, err = s.start(); err != nil {
				return err
			}
		}
	}
	<-ctx.Done()
	return nil
}

// process is one life of the server: it owns connections, workers and backlog.
type process struct {
	server  *Server
	http    *http.Server
	workers chan struct{} // who waits to send is served in order
	load    atomic.Int64  // requests that wait or are worked on
	dead    chan struct{}
}

func (s *Server) start() (*process, error) {
	l, err := s.network.listen(s.addr)
	if err != nil {
		return nil, err
	}
	p := &process{server: s, workers: make(chan struct{}, workers), dead: make(chan struct{})}
	p.http = &http.Server{
		Handler:  s.front(s.protect(p)),
		ErrorLog: log.New(io.Discard, "", 0),
	}
	go p.http.Serve(l)
	return p, nil
}

// kill ends the process: its port is closed, its connections break, its backlog is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	close(p.dead)
	p.http.Close()
}

// front is what a request meets first: the network's moods, and our counters.
func (s *Server) front(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.arrived.Add(1)
		n := s.inside.Add(1)
		defer s.inside.Add(-1)
		for old := s.peak.Load(); n > old && !s.peak.CompareAndSwap(old, n); {
			old = s.peak.Load()
		}
		if phase, _ := s.weather.Now(); phase.Kind == Resetting && s.harmed(phase) {
			reset(w)
			return
		}
		next.ServeHTTP(w, r)
	})
}

// reset breaks the connection with a TCP RST.
func reset(w http.ResponseWriter) {
	conn, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	if tcp, ok := conn.(*net.TCPConn); ok {
		tcp.SetLinger(0)
	}
	conn.Close()
}

// ServeHTTP waits for a worker, works, and answers. As most servers do, it never looks
// whether the client still waits: what has been accepted is done. That is what makes
// overload last: the work is for nobody, and those who do wait are behind it.
func (p *process) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	defer p.load.Add(-1)
	if p.load.Add(1) > backlog+workers {
		http.Error(w, "backlog full", http.StatusServiceUnavailable)
		return
	}
	select {
	case p.workers <- struct{}{}:
	case <-p.dead:
		panic(http.ErrAbortHandler)
	}
	defer func() { <-p.workers }()

	phase, at := p.server.weather.Now()
	if !p.sleep(p.server.workFor(phase, at)) {
		panic(http.ErrAbortHandler)
	}
	if phase.Kind != Resetting && p.server.harmed(phase) {
		http.Error(w, "out of order", http.StatusInternalServerError)
		return
	}
	io.WriteString(w, "done\n")
}

// workFor returns how long a piece of work takes that begins now.
func (s *Server) workFor(phase Phase, at time.Duration) time.Duration {
	s.mu.Lock()
	spread := 0.75 + s.chance.Float64()/2 // a quarter more or less than the average
	s.mu.Unlock()
	d := time.Duration(float64(workTime) * spread * phase.Slowness(at))
	if phase.Kind == Hanging {
		d += phase.End - at
	}
	return d
}

// harmed reports whether a request falls victim to the phase.
func (s *Server) harmed(phase Phase) bool {
	ctx := thole.WithTarget(context.Background(), phase.Kind.String())
	return s.faults.Do(ctx, func(context.Context) error { return nil }) != nil
}

// sleep is the work. It reports false if the process died meanwhile.
func (p *process) sleep(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-p.dead:
		return false
	}
}
