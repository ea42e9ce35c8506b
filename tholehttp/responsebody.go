package tholehttp

import (
	"io"
	"net/http"
)

// body is the body of the response that a call returns: it ends the call's lifetime when it
// has been read to its end, when that fails, and when it is closed. It is the call itself,
// under another type, so that making one costs nothing.
type body call

func (b *body) Read(p []byte) (int, error) {
	n, err := b.inner.Read(p)
	if err != nil {
		b.life.End()
	}
	return n, err
}

func (b *body) Close() error {
	defer b.life.End()
	return b.inner.Close()
}

// writerToBody is a body that can write itself.
type writerToBody struct{ *body }

func (b writerToBody) WriteTo(w io.Writer) (int64, error) {
	n, err := b.inner.(io.WriterTo).WriteTo(w)
	b.life.End()
	return n, err
}

// duplexBody is the body of a 101 response. The end of what the server sends is not the end
// of it: only Close is.
type duplexBody call

func (b *duplexBody) Read(p []byte) (int, error)  { return b.inner.Read(p) }
func (b *duplexBody) Write(p []byte) (int, error) { return b.inner.(io.Writer).Write(p) }
func (b *duplexBody) Close() error                { return (*body)(b).Close() }

type closeWriter interface{ CloseWrite() error }

// halfCloseBody is a duplexBody that can end the writing alone.
type halfCloseBody struct{ *duplexBody }

func (b halfCloseBody) CloseWrite() error { return b.inner.(closeWriter).CloseWrite() }

// guard makes resp, which the call returns, end the call's lifetime. It leaves alone what it
// can: a response without a body, and every body if nothing waits for its end.
func (c *call) guard(resp *http.Response) {
	if resp.Body == nil || resp.Body == http.NoBody || c.life.Mark() == 0 {
		c.life.End()
		return
	}
	c.inner = resp.Body
	_, writer := resp.Body.(io.Writer)
	_, half := resp.Body.(closeWriter)
	_, writerTo := resp.Body.(io.WriterTo)
	switch {
	case writer && half:
		resp.Body = halfCloseBody{(*duplexBody)(c)}
	case writer:
		resp.Body = (*duplexBody)(c)
	case writerTo:
		resp.Body = writerToBody{(*body)(c)}
	default:
		resp.Body = (*body)(c)
	}
}
