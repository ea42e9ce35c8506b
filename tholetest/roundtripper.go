package tholetest

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"
)

// HTTPFault is what goes wrong with one HTTP call. The zero HTTPFault lets it pass.
type HTTPFault struct {
	_ [0]func()

	// Latency passes before anything else. It obeys the request's context.
	Latency time.Duration

	// Hang waits for the request's context to end, and returns its error.
	Hang bool

	// Err is returned in place of a response; the request is not sent.
	Err error

	// Status, if not 0, is that of a response made here; the request is not sent. Header and
	// Body are what it has beside that.
	Status int
	Header http.Header
	Body   string

	// TruncateAfter is after how many bytes the response's body ends with
	// io.ErrUnexpectedEOF; ResetAfter, with syscall.ECONNRESET; HangAfter, after how many it
	// hangs until the request's context ends or it is closed. 0 is off, negative strikes
	// before the first byte.
	TruncateAfter, ResetAfter, HangAfter int64

	// ReadDelay passes before each Read of the body, which then returns at most 1 KiB: a body
	// that crawls. It obeys the request's context and Close.
	ReadDelay time.Duration
}

// A RoundTripper is an http.RoundTripper that puts faults into calls. Make one with
// [NewRoundTripper]. It is safe for concurrent use.
type RoundTripper struct {
	base     http.RoundTripper
	mu       sync.Mutex
	faults   []HTTPFault
	requests int
	open     atomic.Int64
}

// NewRoundTripper returns a RoundTripper that sends requests through base, the n-th with the
// n-th fault; the last fault holds for all from there on. Without any, all pass. A nil base
// answers 200 with an empty body.
func NewRoundTripper(base http.RoundTripper, faults ...HTTPFault) *RoundTripper {
	return &RoundTripper{base: base, faults: append([]HTTPFault(nil), faults...)}
}

// SetFaults puts other faults in place of what is left of them, for the requests to come.
func (t *RoundTripper) SetFaults(faults ...HTTPFault) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.faults = append([]HTTPFault(nil), faults...)
}

// Requests returns how many there were.
func (t *RoundTripper) Requests() int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.requests
}

// OpenBodies returns how many responses have a body that nobody has closed: a leak, if
// nobody reads them any more.
func (t *RoundTripper) OpenBodies() int { return int(t.open.Load()) }

func (t *RoundTripper) next() HTTPFault {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.requests++
	if len(t.faults) == 0 {
		return HTTPFault{}
	}
	f := t.faults[0]
	if len(t.faults) > 1 {
		t.faults = t.faults[1:]
	}
	return f
}

// RoundTrip implements http.RoundTripper.
func (t *RoundTripper) RoundTrip(r *http.Request) (*http.Response, error) {
	f := t.next()
	resp, err := t.answer(r, f)
	if err != nil {
		return nil, err
	}
	t.open.Add(1)
	b := &faultBody{ReadCloser: resp.Body, faults: f, ctx: r.Context(), open: &t.open, closed: make(chan struct{})}
	if w, ok := resp.Body.(io.Writer); ok {
		resp.Body = struct {
			*faultBody
			io.Writer
		}{b, w} // of an upgraded connection
	} else {
		resp.Body = b
	}
	return resp, nil
}

// answer gets the response, before anything is done to its body. It closes the request's
// body if it does not send it.
func (t *RoundTripper) answer(r *http.Request, f HTTPFault) (*http.Response, error) {
	err := wait(r.Context(), nil, f.Latency)
	switch {
	case err != nil:
	case f.Hang:
		err = wait(r.Context(), nil, -1)
	case f.Err != nil:
		err = f.Err
	case f.Status == 0 && t.base != nil:
		return t.base.RoundTrip(r)
	}
	if r.Body != nil {
		_ = r.Body.Close()
	}
	if err != nil {
		return nil, err
	}
	return f.response(r), nil
}

func (f HTTPFault) response(r *http.Request) *http.Response {
	status := f.Status
	if status == 0 {
		status = http.StatusOK
	}
	header := f.Header.Clone()
	if header == nil {
		header = make(http.Header)
	}
	return &http.Response{
		Status: fmt.Sprintf("%d %s", status, http.StatusText(status)), StatusCode: status,
		Proto: "HTTP/1.1", ProtoMajor: 1, ProtoMinor: 1,
		Header: header, Request: r,
		Body: io.NopCloser(strings.NewReader(f.Body)), ContentLength: int64(len(f.Body)),
	}
}

// CloseIdleConnections passes it on to the base.
func (t *RoundTripper) CloseIdleConnections() {
	if c, ok := t.base.(interface{ CloseIdleConnections() }); ok {
		c.CloseIdleConnections()
	}
}

// faultBody is a response's body that goes wrong.
type faultBody struct {
	io.ReadCloser
	faults HTTPFault
	ctx    context.Context
	open   *atomic.Int64
	once   sync.Once
	closed chan struct{}
	read   int64 // by one reader at a time
}

// crawl is how much a body gives at a time that has a ReadDelay.
const crawl = 1 << 10

// Read reads what the faults let through.
func (b *faultBody) Read(p []byte) (int, error) {
	if d := b.faults.ReadDelay; d > 0 {
		if err := wait(b.ctx, b.closed, d); err != nil {
			return 0, err
		}
		p = p[:min(len(p), crawl)]
	}
	var strike func() error
	for _, f := range []struct {
		after  int64
		strike func() error
	}{
		{b.faults.HangAfter, func() error { return wait(b.ctx, b.closed, -1) }},
		{b.faults.TruncateAfter, func() error { return io.ErrUnexpectedEOF }},
		{b.faults.ResetAfter, func() error { return syscall.ECONNRESET }},
	} {
		if f.after == 0 {
			continue
		}
		if left := max(max(f.after, 0)-b.read, 0); left <= int64(len(p)) {
			p, strike = p[:left], f.strike
		}
	}
	if len(p) == 0 && strike != nil {
		return 0, strike()
	}
	n, err := b.ReadCloser.Read(p)
	b.read += int64(n)
	return n, err
}

// Close closes the body, and ends a Read that waits.
func (b *faultBody) Close() error {
	b.once.Do(func() {
		close(b.closed)
		b.open.Add(-1)
	})
	return b.ReadCloser.Close()
}

var errBodyClosed = errors.New("tholetest: read on closed body")

// wait waits for d, for ever if it is negative, unless ctx or closed ends it.
func wait(ctx context.Context, closed <-chan struct{}, d time.Duration) error {
	if d == 0 {
		return ctx.Err()
	}
	var over <-chan time.Time
	if d > 0 {
		timer := time.NewTimer(d)
		defer timer.Stop()
		over = timer.C
	}
	select {
	case <-over:
		return nil
	case <-closed:
		return errBodyClosed
	case <-ctx.Done():
		return ctx.Err()
	}
}
