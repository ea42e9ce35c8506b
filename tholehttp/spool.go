package tholehttp

import (
	"io"
	"slices"
	"sync"
)

// spool keeps a body of known length in memory as it is first read, so that it can be read
// again, and from the beginning by several readers at once. It reads no further ahead than
// its readers ask: an upload starts before the body has ended.
type spool struct {
	mu     sync.Mutex
	src    io.Reader
	length int64 // that src should have
	kept   []byte
	err    error // that src ended with
}

// open returns a reader of the whole body.
func (s *spool) open() (io.ReadCloser, error) { return &spoolReader{spool: s}, nil }

type spoolReader struct {
	spool *spool
	off   int
}

func (r *spoolReader) Close() error { return nil }

func (r *spoolReader) Read(p []byte) (int, error) {
	s := r.spool
	s.mu.Lock()
	defer s.mu.Unlock()
	if r.off == len(s.kept) && s.err == nil && len(p) > 0 {
		s.fill(len(p))
	}
	if r.off == len(s.kept) {
		return 0, s.err
	}
	n := copy(p, s.kept[r.off:])
	r.off += n
	return n, nil
}

// fill reads up to n more bytes from src. It keeps one byte more than the body should have:
// enough for the base to notice that it is too long.
func (s *spool) fill(n int) {
	n = int(min(int64(n-1), s.length-int64(len(s.kept)))) + 1
	if n == 0 {
		s.err = io.EOF
		return
	}
	if s.kept == nil {
		s.kept = make([]byte, 0, min(s.length, defaultReplayBytes)+1)
	}
	s.kept = slices.Grow(s.kept, n)
	m, err := s.src.Read(s.kept[len(s.kept) : len(s.kept)+n])
	s.kept, s.err = s.kept[:len(s.kept)+m], err
}
