package tholehttp

//lint:file-ignore SA1019 frameworks assert http.CloseNotifier still

import (
	"bufio"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"testing"

	"github.com/stretchr/testify/assert"
)

// fake has all the optional methods; the shapes of a writer around it serve as bases that
// have some.
type fake struct {
	http.ResponseWriter
	called string
}

func (f *fake) Flush() { f.called += "flush " }
func (f *fake) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	f.called += "hijack "
	return nil, nil, nil
}
func (f *fake) Push(string, *http.PushOptions) error { f.called += "push "; return nil }
func (f *fake) ReadFrom(io.Reader) (int64, error)    { f.called += "readFrom "; return 1, nil }
func (f *fake) CloseNotify() <-chan bool             { f.called += "closeNotify "; return nil }

func TestWriter_rule48_hasTheMethodsOfItsBaseInEachCombination(t *testing.T) {
	for bits := range 1 << 5 {
		f := &fake{ResponseWriter: httptest.NewRecorder()}
		// The table itself makes the base; that it has just these methods is checked first.
		base := (&writer{base: f}).shapeOf(bits)
		got := (&writer{base: base}).shape()
		assert.Equal(t, bits, (&writer{base: base}).abilities(), "%05b", bits)
		assert.Equal(t, bits, (&writer{base: got}).abilities(), "%05b", bits)

		want := ""
		if w, ok := got.(http.Flusher); ok {
			w.Flush()
			want += "flush "
			assert.NoError(t, got.(interface{ FlushError() error }).FlushError())
			want += "flush "
		}
		if w, ok := got.(http.Hijacker); ok {
			w.Hijack()
			want += "hijack "
		}
		if w, ok := got.(http.Pusher); ok {
			w.Push("", nil)
			want += "push "
		}
		if w, ok := got.(io.ReaderFrom); ok {
			w.ReadFrom(nil)
			want += "readFrom "
		}
		if w, ok := got.(http.CloseNotifier); ok {
			w.CloseNotify()
			want += "closeNotify "
		}
		assert.Equal(t, want, f.called, "%05b: each reaches its own", bits)
		_, ok := got.(io.StringWriter)
		assert.True(t, ok)
		assert.Same(t, f, (&writer{base: f}).shapeOf(bits).(interface{ Unwrap() http.ResponseWriter }).Unwrap())
	}
}
