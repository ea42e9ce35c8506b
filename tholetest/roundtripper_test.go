package tholetest_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole/tholetest"
)

func TestRoundTripper_faultsByRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		long := strings.Repeat("x", 2000)
		base := tholetest.NewRoundTripper(nil, tholetest.HTTPFault{Body: long})
		for name, row := range map[string]struct {
			fault tholetest.HTTPFault
			check func(t *testing.T, status int, err error, read int, took time.Duration)
		}{
			"none": {tholetest.HTTPFault{}, func(t *testing.T, status int, err error, read int, _ time.Duration) {
				assert.NoError(t, err)
				assert.Equal(t, 200, status)
				assert.Equal(t, 2000, read)
			}},
			"latency": {tholetest.HTTPFault{Latency: time.Second}, func(t *testing.T, _ int, err error, read int, took time.Duration) {
				assert.NoError(t, err)
				assert.Equal(t, 2000, read)
				assert.Equal(t, time.Second, took)
			}},
			"latency beyond the deadline": {tholetest.HTTPFault{Latency: 2 * time.Hour}, timedOut(0)},
			"hang":                        {tholetest.HTTPFault{Hang: true}, timedOut(0)},
			"error": {tholetest.HTTPFault{Err: errDown}, func(t *testing.T, _ int, err error, _ int, _ time.Duration) {
				assert.ErrorIs(t, err, errDown)
			}},
			"status": {tholetest.HTTPFault{Status: 503, Body: "sorry"}, func(t *testing.T, status int, err error, read int, _ time.Duration) {
				assert.NoError(t, err)
				assert.Equal(t, 503, status)
				assert.Equal(t, 5, read)
			}},
			"truncated": {tholetest.HTTPFault{TruncateAfter: 500}, func(t *testing.T, _ int, err error, read int, _ time.Duration) {
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.Equal(t, 500, read)
			}},
			"truncated at once": {tholetest.HTTPFault{TruncateAfter: -1}, func(t *testing.T, _ int, err error, read int, _ time.Duration) {
				assert.ErrorIs(t, err, io.ErrUnexpectedEOF)
				assert.Equal(t, 0, read)
			}},
			"reset": {tholetest.HTTPFault{ResetAfter: 100, TruncateAfter: 500}, func(t *testing.T, _ int, err error, read int, _ time.Duration) {
				assert.ErrorIs(t, err, syscall.ECONNRESET)
				assert.Equal(t, 100, read)
			}},
			"hanging body": {tholetest.HTTPFault{HangAfter: 7}, timedOut(7)},
			"crawling body": {tholetest.HTTPFault{ReadDelay: time.Second}, func(t *testing.T, _ int, err error, read int, took time.Duration) {
				assert.NoError(t, err)
				assert.Equal(t, 2000, read)
				assert.GreaterOrEqual(t, took, 2*time.Second)
			}},
			"crawling beyond the deadline": {tholetest.HTTPFault{ReadDelay: 50 * time.Minute}, func(t *testing.T, _ int, err error, read int, took time.Duration) {
				assert.ErrorIs(t, err, context.DeadlineExceeded)
				assert.Less(t, read, 2000)
				assert.Equal(t, time.Hour, took)
			}},
		} {
			t.Log(name)
			rt := tholetest.NewRoundTripper(base, row.fault)
			start := time.Now()
			status, read, err := roundTrip(t, rt)
			row.check(t, status, err, read, time.Since(start))
			assert.Equal(t, 1, rt.Requests())
			assert.Equal(t, 0, rt.OpenBodies())
		}
		assert.Equal(t, 0, base.OpenBodies())
	})
}

func timedOut(after int) func(*testing.T, int, error, int, time.Duration) {
	return func(t *testing.T, _ int, err error, read int, took time.Duration) {
		assert.ErrorIs(t, err, context.DeadlineExceeded)
		assert.Equal(t, after, read)
		assert.Equal(t, time.Hour, took)
	}
}

func roundTrip(t *testing.T, rt http.RoundTripper) (status, read int, err error) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Hour)
	defer cancel()
	sent := &closeCounter{Reader: strings.NewReader("body")}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, "http://web/", sent)
	require.NoError(t, err)
	resp, err := rt.RoundTrip(req)
	assert.Equal(t, 1, sent.closed, "the request's body is closed")
	if err != nil {
		return 0, 0, err
	}
	body, err := io.ReadAll(resp.Body)
	require.NoError(t, resp.Body.Close())
	_ = resp.Body.Close()
	return resp.StatusCode, len(body), err
}

type closeCounter struct {
	io.Reader
	closed int
}

func (c *closeCounter) Close() error { c.closed++; return nil }

func TestRoundTripper_nthRequestGetsNthFault(t *testing.T) {
	rt := tholetest.NewRoundTripper(nil,
		tholetest.HTTPFault{Status: 503, Header: http.Header{"Retry-After": {"1"}}}, tholetest.HTTPFault{}, tholetest.HTTPFault{Err: errDown})
	client := &http.Client{Transport: rt}
	resp, err := client.Get("http://web/")
	require.NoError(t, err)
	assert.Equal(t, 503, resp.StatusCode)
	assert.Equal(t, "503 Service Unavailable", resp.Status)
	assert.Equal(t, "1", resp.Header.Get("Retry-After"))
	assert.Equal(t, 1, rt.OpenBodies(), "not closed yet")
	require.NoError(t, resp.Body.Close())
	resp, err = client.Get("http://web/")
	require.NoError(t, err)
	assert.Equal(t, 200, resp.StatusCode)
	require.NoError(t, resp.Body.Close())
	for range 3 {
		_, err = client.Get("http://web/")
		assert.ErrorIs(t, err, errDown)
	}
	rt.SetFaults()
	resp, err = client.Get("http://web/")
	require.NoError(t, err)
	require.NoError(t, resp.Body.Close())
	assert.Equal(t, 6, rt.Requests())
	assert.Equal(t, 0, rt.OpenBodies())
	client.CloseIdleConnections()
}

// Close ends a Read that hangs, and upgraded connections stay writable.
func TestRoundTripper_bodies(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		rt := tholetest.NewRoundTripper(nil, tholetest.HTTPFault{HangAfter: -1, Body: "x"})
		resp, err := (&http.Client{Transport: rt}).Get("http://web/")
		require.NoError(t, err)
		time.AfterFunc(time.Hour, func() { _ = resp.Body.Close() })
		_, err = io.ReadAll(resp.Body)
		assert.ErrorContains(t, err, "closed body")

		crawls := tholetest.NewRoundTripper(nil, tholetest.HTTPFault{ReadDelay: time.Second, Body: strings.Repeat("x", 4096)})
		slow, err := crawls.RoundTrip(resp.Request)
		require.NoError(t, err)
		n, err := slow.Body.Read(make([]byte, 4096))
		require.NoError(t, err)
		assert.Equal(t, 1024, n, "a little at a time")
		require.NoError(t, slow.Body.Close())

		base := upgrading{}
		resp, err = tholetest.NewRoundTripper(base).RoundTrip(resp.Request)
		require.NoError(t, err)
		_, ok := resp.Body.(io.Writer)
		assert.True(t, ok)
		require.NoError(t, resp.Body.Close())
		tholetest.NewRoundTripper(base).CloseIdleConnections()
	})
}

type upgrading struct{}

func (upgrading) RoundTrip(r *http.Request) (*http.Response, error) {
	a, b := tholetest.Pipe()
	_ = b.Close()
	return &http.Response{StatusCode: 101, Body: a, Request: r}, nil
}

func (upgrading) CloseIdleConnections() {}
