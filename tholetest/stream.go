package tholetest

import (
	"io"
	"net"
	"os"
	"sync"
	"syscall"
	"time"
)

// streamSize is how many bytes a stream holds: a writer further ahead waits for the reader.
const streamSize = 64 << 10

// stream is one direction of a connection.
type stream struct {
	mu      sync.Mutex
	data    []byte
	changed chan struct{} // closed, and made anew, at each change
	ended   bool          // by the writer: what is there can still be read
	closed  bool          // by the reader: what is written goes nowhere
	reset   bool
}

func newStream() *stream { return &stream{changed: make(chan struct{})} }

// change changes the stream by f and wakes those who wait for that.
func (s *stream) change(f func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	f()
	close(s.changed)
	s.changed = make(chan struct{})
}

// await calls try under the lock until it reports true. It gives up when the end of its own
// side or the deadline comes.
func (s *stream) await(own <-chan struct{}, d *deadline, try func() bool) error {
	for {
		expired, moved := d.wait()
		select {
		case <-own:
			return net.ErrClosed
		case <-expired:
			return os.ErrDeadlineExceeded
		default:
		}
		s.mu.Lock()
		ok, changed := try(), s.changed
		s.mu.Unlock()
		if ok {
			return nil
		}
		select {
		case <-changed:
		case <-own:
		case <-expired:
		case <-moved:
		}
	}
}

func (s *stream) read(p []byte, own <-chan struct{}, d *deadline) (n int, err error) {
	waited := s.await(own, d, func() bool {
		switch {
		case len(s.data) > 0 || len(p) == 0:
			n = copy(p, s.data)
			s.data = s.data[n:]
		case s.reset:
			err = syscall.ECONNRESET
		case s.ended:
			err = io.EOF
		default:
			return false
		}
		return true
	})
	if n > 0 {
		s.change(func() {})
	}
	if waited != nil {
		return 0, waited
	}
	return n, err
}

func (s *stream) write(p []byte, own <-chan struct{}, d *deadline) (n int, err error) {
	for n < len(p) && err == nil {
		added := 0
		waited := s.await(own, d, func() bool {
			switch room := streamSize - len(s.data); {
			case s.reset:
				err = syscall.ECONNRESET
			case s.ended || s.closed:
				err = syscall.EPIPE
			case room > 0:
				added = min(room, len(p)-n)
				s.data = append(s.data, p[n:n+added]...)
			default:
				return false
			}
			return true
		})
		if added > 0 {
			n += added
			s.change(func() {})
		}
		if waited != nil {
			return n, waited
		}
	}
	return n, err
}

// deadline is a time that may be moved while others wait for it.
type deadline struct {
	mu      sync.Mutex
	timer   *time.Timer
	expired chan struct{}
	changed chan struct{} // made anew whenever it is moved
}

func newDeadline() *deadline {
	return &deadline{expired: make(chan struct{}), changed: make(chan struct{})}
}

// wait returns a channel that is closed when the deadline has passed, and one that is closed
// when it is moved.
func (d *deadline) wait() (expired, moved <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.expired, d.changed
}

// set moves the deadline; the zero time means none.
func (d *deadline) set(t time.Time) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.timer != nil {
		d.timer.Stop()
		d.timer = nil
	}
	expired := make(chan struct{}) // a timer that has fired already closes the old one
	d.expired = expired
	close(d.changed)
	d.changed = make(chan struct{})
	if t.IsZero() {
		return
	}
	if left := time.Until(t); left > 0 {
		d.timer = time.AfterFunc(left, func() { close(expired) })
	} else {
		close(expired)
	}
}
