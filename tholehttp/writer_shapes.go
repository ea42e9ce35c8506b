package tholehttp

//lint:file-ignore SA1019 frameworks assert http.CloseNotifier still

import (
	"io"
	"net/http"
)

// The optional methods that a base has, as bits.
const (
	canFlush = 1 << iota
	canHijack
	canPush
	canReadFrom
	canCloseNotify
)

type (
	// http1Writer is the shape of net/http's ResponseWriter for HTTP/1.
	http1Writer struct {
		*writer
		flusher
		hijacker
		readerFrom
		closeNotifier
	}
	// http2Writer is the shape of the one for HTTP/2.
	http2Writer struct {
		*writer
		flusher
		pusher
		closeNotifier
	}
)

// shape returns w as a ResponseWriter that has the optional methods which its base has, and
// no other: handlers assert http.Flusher to see whether they can stream.
func (w *writer) shape() http.ResponseWriter { return w.shapeOf(w.abilities()) }

func (w *writer) shapeOf(abilities int) http.ResponseWriter {
	switch abilities {
	case canFlush | canHijack | canReadFrom | canCloseNotify:
		w.http1 = http1Writer{w, flusher{w}, hijacker{w}, readerFrom{w}, closeNotifier{w}}
		return &w.http1
	case canFlush | canPush | canCloseNotify:
		w.http2 = http2Writer{w, flusher{w}, pusher{w}, closeNotifier{w}}
		return &w.http2
	}
	return w.otherShape(abilities)
}

func (w *writer) abilities() int {
	bits := 0
	if _, ok := w.base.(http.Flusher); ok {
		bits |= canFlush
	}
	if _, ok := w.base.(http.Hijacker); ok {
		bits |= canHijack
	}
	if _, ok := w.base.(http.Pusher); ok {
		bits |= canPush
	}
	if _, ok := w.base.(io.ReaderFrom); ok {
		bits |= canReadFrom
	}
	if _, ok := w.base.(http.CloseNotifier); ok {
		bits |= canCloseNotify
	}
	return bits
}

// otherShape covers what recorders and the wrappers of other middleware come in. A type's
// method set is fixed when it is compiled, so there has to be one for each combination; the
// table is in the order of the bits.
func (w *writer) otherShape(abilities int) http.ResponseWriter {
	var (
		f = flusher{w}
		h = hijacker{w}
		p = pusher{w}
		r = readerFrom{w}
		c = closeNotifier{w}
	)
	switch abilities {
	case canFlush:
		return struct {
			*writer
			flusher
		}{w, f}
	case canHijack:
		return struct {
			*writer
			hijacker
		}{w, h}
	case canFlush | canHijack:
		return struct {
			*writer
			flusher
			hijacker
		}{w, f, h}
	case canPush:
		return struct {
			*writer
			pusher
		}{w, p}
	case canFlush | canPush:
		return struct {
			*writer
			flusher
			pusher
		}{w, f, p}
	case canHijack | canPush:
		return struct {
			*writer
			hijacker
			pusher
		}{w, h, p}
	case canFlush | canHijack | canPush:
		return struct {
			*writer
			flusher
			hijacker
			pusher
		}{w, f, h, p}
	case canReadFrom:
		return struct {
			*writer
			readerFrom
		}{w, r}
	case canFlush | canReadFrom:
		return struct {
			*writer
			flusher
			readerFrom
		}{w, f, r}
	case canHijack | canReadFrom:
		return struct {
			*writer
			hijacker
			readerFrom
		}{w, h, r}
	case canFlush | canHijack | canReadFrom:
		return struct {
			*writer
			flusher
			hijacker
			readerFrom
		}{w, f, h, r}
	case canPush | canReadFrom:
		return struct {
			*writer
			pusher
			readerFrom
		}{w, p, r}
	case canFlush | canPush | canReadFrom:
		return struct {
			*writer
			flusher
			pusher
			readerFrom
		}{w, f, p, r}
	case canHijack | canPush | canReadFrom:
		return struct {
			*writer
			hijacker
			pusher
			readerFrom
		}{w, h, p, r}
	case canFlush | canHijack | canPush | canReadFrom:
		return struct {
			*writer
			flusher
			hijacker
			pusher
			readerFrom
		}{w, f, h, p, r}
	case canCloseNotify:
		return struct {
			*writer
			closeNotifier
		}{w, c}
	case canFlush | canCloseNotify:
		return struct {
			*writer
			flusher
			closeNotifier
		}{w, f, c}
	case canHijack | canCloseNotify:
		return struct {
			*writer
			hijacker
			closeNotifier
		}{w, h, c}
	case canFlush | canHijack | canCloseNotify:
		return struct {
			*writer
			flusher
			hijacker
			closeNotifier
		}{w, f, h, c}
	case canPush | canCloseNotify:
		return struct {
			*writer
			pusher
			closeNotifier
		}{w, p, c}
	case canHijack | canPush | canCloseNotify:
		return struct {
			*writer
			hijacker
			pusher
			closeNotifier
		}{w, h, p, c}
	case canFlush | canHijack | canPush | canCloseNotify:
		return struct {
			*writer
			flusher
			hijacker
			pusher
			closeNotifier
		}{w, f, h, p, c}
	case canReadFrom | canCloseNotify:
		return struct {
			*writer
			readerFrom
			closeNotifier
		}{w, r, c}
	case canFlush | canReadFrom | canCloseNotify:
		return struct {
			*writer
			flusher
			readerFrom
			closeNotifier
		}{w, f, r, c}
	case canHijack | canReadFrom | canCloseNotify:
		return struct {
			*writer
			hijacker
			readerFrom
			closeNotifier
		}{w, h, r, c}
	case canPush | canReadFrom | canCloseNotify:
		return struct {
			*writer
			pusher
			readerFrom
			closeNotifier
		}{w, p, r, c}
	case canFlush | canPush | canReadFrom | canCloseNotify:
		return struct {
			*writer
			flusher
			pusher
			readerFrom
			closeNotifier
		}{w, f, p, r, c}
	case canHijack | canPush | canReadFrom | canCloseNotify:
		return struct {
			*writer
			hijacker
			pusher
			readerFrom
			closeNotifier
		}{w, h, p, r, c}
	case canFlush | canHijack | canPush | canReadFrom | canCloseNotify:
		return struct {
			*writer
			flusher
			hijacker
			pusher
			readerFrom
			closeNotifier
		}{w, f, h, p, r, c}
	}
	return w
}
