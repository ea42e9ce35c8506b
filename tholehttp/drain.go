package tholehttp

import (
	"bytes"
	"io"
	"net/http"
	"sync"
	"time"
)

// The body of a response that is not returned is read to its end, so that its connection can
// be used again, unless that takes too much or too long: then the connection is closed.
const (
	drainBytes = 8 << 10
	keepBytes  = 64 << 10 // of a failed response that may still be returned
	drainTime  = 50 * time.Millisecond
)

// drain reads resp's body to its end, within bounds, and closes it.
func drain(resp *http.Response) {
	if resp.Body == nil {
		return
	}
	if resp.ContentLength > drainBytes {
		resp.Body.Close()
		return
	}
	_ = readBounded(resp.Body, io.Discard, drainBytes)
}

// keep reads resp's body, within bounds, closes it, and returns what it read as a body. If
// it did not end within the bounds, a reader of that meets an error in the end.
func keep(resp *http.Response) io.ReadCloser {
	if resp.Body == nil || resp.Body == http.NoBody {
		return resp.Body
	}
	var kept bytes.Buffer
	end := readBounded(resp.Body, &kept, keepBytes)
	return &keptBody{data: kept.Bytes(), end: end}
}

// readBounded copies body to w and closes it. It returns io.EOF if it reached the end within
// most bytes and drainTime.
func readBounded(body io.ReadCloser, w io.Writer, most int64) error {
	var once sync.Once
	closeBody := func() { once.Do(func() { body.Close() }) }
	defer closeBody()
	timer := time.AfterFunc(drainTime, closeBody) // which ends a Read that is stuck
	defer timer.Stop()
	n, err := io.Copy(w, io.LimitReader(body, most+1))
	if err != nil || n > most {
		return errTooLong
	}
	return io.EOF
}

// keptBody is a body held in memory.
type keptBody struct {
	data []byte
	end  error // what follows the data
}

func (b *keptBody) Read(p []byte) (int, error) {
	if len(b.data) == 0 {
		return 0, b.end
	}
	n := copy(p, b.data)
	b.data = b.data[n:]
	return n, nil
}

func (b *keptBody) Close() error {
	b.data, b.end = nil, http.ErrBodyReadAfterClose
	return nil
}
