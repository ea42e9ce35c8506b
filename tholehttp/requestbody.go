package tholehttp

import (
	"io"
	"net/http"
	"sync"
	"sync/atomic"
)

// upload gives the caller's request body to the attempts, and closes it exactly once.
//
// A call that makes one attempt at most hands the body on as it is: net/http sends a body
// whose type it knows in one write with the header, or by sendfile, and closes it. Else each
// attempt gets a reader of its own, and the caller's body is closed when the last of them is
// closed and the call is over: readers made by GetBody often share a buffer that the caller
// may use again once its body is closed, and the base may go on reading a body after
// RoundTrip has returned.
type upload struct {
	body   io.ReadCloser // the caller's
	direct bool          // the body goes to its one attempt as it is, which closes it
	replay func() (io.ReadCloser, error)
	spool  *spool
	refs   atomic.Int32 // readers not closed, and one for the call
	taken  atomic.Bool  // the body itself has gone to an attempt
}

// holdBody takes r's body over, to be sent once. It returns nil, which has the same methods,
// if there is none.
func holdBody(r *http.Request) *upload {
	if r.Body == nil || r.Body == http.NoBody {
		return nil
	}
	u := &upload{body: r.Body, direct: true}
	u.refs.Store(1)
	return u
}

// prepare makes the body ready to be sent more than once. It reports whether that can be
// done.
func (u *upload) prepare(r *http.Request, maxBytes int64) bool {
	switch {
	case r.GetBody != nil:
		u.replay = r.GetBody
	case 0 < r.ContentLength && r.ContentLength <= maxBytes:
		u.spool = &spool{src: r.Body, length: r.ContentLength}
		u.replay = u.spool.open
	default:
		return false
	}
	u.direct = false
	return true
}

// attach gives r, a copy of the caller's request, a body for one attempt.
func (u *upload) attach(r *http.Request) error {
	if u == nil {
		return nil
	}
	first := !u.taken.Swap(true)
	if u.direct {
		if !first {
			return &localError{errBodyUsed}
		}
		return nil
	}
	r.GetBody = u.open // the base's own replays count too
	if first && u.spool == nil {
		u.refs.Add(1)
		r.Body = &attemptBody{rc: u.body, upload: u}
		return nil
	}
	body, err := u.open()
	if err != nil {
		return &localError{err}
	}
	r.Body = body
	return nil
}

// open returns a new reader of the whole body.
func (u *upload) open() (io.ReadCloser, error) {
	for n := u.refs.Load(); ; n = u.refs.Load() {
		if n == 0 {
			return nil, http.ErrBodyReadAfterClose
		}
		if u.refs.CompareAndSwap(n, n+1) {
			break
		}
	}
	rc, err := u.replay()
	if err != nil {
		u.release()
		return nil, err
	}
	return &attemptBody{rc: rc, upload: u, own: u.spool == nil}, nil
}

// release gives one reference back; the call gives its own back when it is over.
func (u *upload) release() {
	if u == nil || u.refs.Add(-1) > 0 {
		return
	}
	if !u.direct || !u.taken.Load() {
		u.body.Close()
	}
}

// attemptBody is the request body of one attempt.
type attemptBody struct {
	rc     io.ReadCloser
	upload *upload
	own    bool // rc is this attempt's alone

	mu      sync.Mutex
	reading bool
	closed  bool
	err     error // that reading met, other than EOF
}

func (b *attemptBody) Read(p []byte) (int, error) {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return 0, http.ErrBodyReadAfterClose
	}
	b.reading = true
	b.mu.Unlock()
	n, err := b.rc.Read(p)
	b.mu.Lock()
	b.reading = false
	if err != nil && err != io.EOF && !b.closed {
		b.err = err
	}
	release := b.closed && b.own
	b.mu.Unlock()
	if release {
		b.upload.release()
	}
	return n, err
}

// Close may come while a Read is under way, from another goroutine. A reader of our own then
// counts until that Read has ended. Where it is the caller's body that is being read, closing
// that is what ends the Read, so it must not wait.
func (b *attemptBody) Close() error {
	b.mu.Lock()
	if b.closed {
		b.mu.Unlock()
		return nil
	}
	b.closed = true
	later := b.reading && b.own
	b.mu.Unlock()
	var err error
	if b.own {
		err = b.rc.Close()
	}
	if !later {
		b.upload.release()
	}
	return err
}

// failure returns the error, if any, that the base met in reading body.
func failure(body io.ReadCloser) error {
	b, ok := body.(*attemptBody)
	if !ok {
		return nil
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.err
}

// lazyBody opens a body when it is first read.
type lazyBody struct {
	upload *upload

	mu     sync.Mutex
	body   io.ReadCloser
	closed bool
}

func (b *lazyBody) Read(p []byte) (int, error) {
	body, err := b.opened()
	if err != nil {
		return 0, err
	}
	return body.Read(p)
}

func (b *lazyBody) opened() (io.ReadCloser, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	switch {
	case b.closed:
		return nil, http.ErrBodyReadAfterClose
	case b.body != nil:
		return b.body, nil
	case b.upload.replay == nil:
		return nil, errBodyUsed
	}
	body, err := b.upload.open()
	b.body = body
	return body, err
}

func (b *lazyBody) Close() error {
	b.mu.Lock()
	body := b.body
	b.closed = true
	b.mu.Unlock()
	if body == nil {
		return nil
	}
	return body.Close()
}

// forFallback returns the request to give to a Fallback: r, or a copy whose body can be sent
// again if that can be done at all.
func (u *upload) forFallback(r *http.Request) *http.Request {
	if u == nil {
		return r
	}
	if u.replay == nil {
		u.replay = r.GetBody
	}
	c := *r
	c.Body = &lazyBody{upload: u}
	if u.replay != nil {
		c.GetBody = u.open
	}
	return &c
}
