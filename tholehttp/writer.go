package tholehttp

//lint:file-ignore SA1019 frameworks assert http.CloseNotifier still

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
)

// writer is the ResponseWriter of a guarded handler: it passes everything on, and learns
// the status on the way. A handler gets it in the shape that shape gives it.
type writer struct {
	base     http.ResponseWriter
	status   int // the final one, as soon as it is decided; 0 before
	hijacked bool

	// Room for the shapes of net/http's own two, so that they cost no allocation.
	http1 http1Writer
	http2 http2Writer
}

// commit notes that the base has been made to send the header.
func (w *writer) commit(status int) {
	if w.status == 0 {
		w.status = status
	}
}

func (w *writer) Header() http.Header { return w.base.Header() }

func (w *writer) WriteHeader(status int) {
	w.base.WriteHeader(status) // first: it panics on what is no status
	if status >= 200 || status == http.StatusSwitchingProtocols {
		w.commit(status)
	}
}

func (w *writer) Write(p []byte) (int, error) {
	w.commit(http.StatusOK)
	return w.base.Write(p)
}

// WriteString is there even if the base has none: io.WriteString does the same then.
func (w *writer) WriteString(s string) (int, error) {
	w.commit(http.StatusOK)
	return io.WriteString(w.base, s)
}

// Unwrap leads http.ResponseController to the base for what is not noted here. Where the
// base would only lead it on, to Flush or Hijack too, or has FlushError alone, there is a stop on
// the way which notes these.
func (w *writer) Unwrap() http.ResponseWriter {
	_, leads := w.base.(interface{ Unwrap() http.ResponseWriter })
	_, tells := w.base.(interface{ FlushError() error })
	if leads || tells {
		_, flushes := w.base.(http.Flusher)
		_, hijacks := w.base.(http.Hijacker)
		if !flushes || leads && !hijacks {
			return stopover{w}
		}
	}
	return w.base
}

// stopover is what a ResponseController finds between the writer and its base.
type stopover struct{ *writer }

func (s stopover) Unwrap() http.ResponseWriter { return s.base }

func (s stopover) FlushError() error {
	err := http.NewResponseController(s.base).Flush()
	if !errors.Is(err, http.ErrNotSupported) {
		s.commit(http.StatusOK)
	}
	return err
}

func (s stopover) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := http.NewResponseController(s.base).Hijack()
	s.hijacked = s.hijacked || err == nil
	return conn, buf, err
}

// The optional methods of a ResponseWriter, each in a type of its own from which the shapes
// are put together.
type (
	flusher       struct{ w *writer }
	hijacker      struct{ w *writer }
	pusher        struct{ w *writer }
	readerFrom    struct{ w *writer }
	closeNotifier struct{ w *writer }
)

func (f flusher) Flush() {
	f.w.commit(http.StatusOK)
	f.w.base.(http.Flusher).Flush()
}

// FlushError is there even if the base has Flush alone: http.ResponseController, for which
// the method is, does the same then.
func (f flusher) FlushError() error {
	f.w.commit(http.StatusOK)
	if base, ok := f.w.base.(interface{ FlushError() error }); ok {
		return base.FlushError()
	}
	f.w.base.(http.Flusher).Flush()
	return nil
}

func (h hijacker) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	conn, buf, err := h.w.base.(http.Hijacker).Hijack()
	h.w.hijacked = h.w.hijacked || err == nil
	return conn, buf, err
}

func (p pusher) Push(target string, opts *http.PushOptions) error {
	return p.w.base.(http.Pusher).Push(target, opts)
}

func (r readerFrom) ReadFrom(src io.Reader) (int64, error) {
	undecided := r.w.status == 0
	r.w.commit(http.StatusOK) // first: src may panic
	n, err := r.w.base.(io.ReaderFrom).ReadFrom(src)
	if undecided && n == 0 {
		r.w.status = 0 // an empty source makes net/http send nothing
	}
	return n, err
}

func (c closeNotifier) CloseNotify() <-chan bool {
	return c.w.base.(http.CloseNotifier).CloseNotify()
}
