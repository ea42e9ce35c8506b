package timeout_test

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"io"
	"net/http"
	"net/http/httptest"
	"testing"
	"time"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/timeout"
)

// net/http works on the context: a call in time, one that runs out of time, and a body that
// is read after the limit has passed.
func TestTimeout_netHTTP(t *testing.T) {
	release := make(chan struct{})
	gone := make(chan struct{}, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch r.URL.Path {
		case "/hang":
			<-r.Context().Done()
			gone <- struct{}{}
		case "/body":
			_, _ = io.WriteString(w, "first ")
			w.(http.Flusher).Flush()
			<-release
			_, _ = io.WriteString(w, "second")
		}
	}))
	defer server.Close()
	get := func(ctx context.Context, path string) (*http.Response, error) {
		req, err := http.NewRequestWithContext(ctx, http.MethodGet, server.URL+path, nil)
		require.NoError(t, err)
		return server.Client().Do(req)
	}

	t.Run("in time", func(t *testing.T) {
		require.NoError(t, limit(time.Minute).Do(t.Context(), func(ctx context.Context) error {
			resp, err := get(ctx, "/")
			if err != nil {
				return err
			}
			return resp.Body.Close()
		}))
	})
	t.Run("out of time", func(t *testing.T) {
		err := limit(20*time.Millisecond).Do(t.Context(), func(ctx context.Context) error {
			_, err := get(ctx, "/hang")
			return err
		})
		assert.ErrorIs(t, err, timeout.ErrTimeout)
		<-gone
	})
	t.Run("the body comes later", func(t *testing.T) {
		ctx, life := thole.WithLifetime(t.Context())
		defer life.End()
		var resp *http.Response
		const short = 200 * time.Millisecond
		require.NoError(t, limit(short).Do(ctx, func(ctx context.Context) (err error) {
			resp, err = get(ctx, "/body")
			return err
		}))
		time.Sleep(short + 50*time.Millisecond)
		close(release)
		body, err := io.ReadAll(resp.Body)
		require.NoError(t, err)
		assert.Equal(t, "first second", string(body))
		require.NoError(t, resp.Body.Close())
	})
}

func TestTimeout_netHTTPServer(t *testing.T) {
	policy := limit(20 * time.Millisecond)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := policy.Do(r.Context(), wait); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
		}
	}))
	defer server.Close()
	resp, err := server.Client().Get(server.URL)
	require.NoError(t, err)
	defer resp.Body.Close()
	body, _ := io.ReadAll(resp.Body)
	assert.Equal(t, http.StatusServiceUnavailable, resp.StatusCode)
	assert.Contains(t, string(body), "timeout[test]: 20ms exceeded")
}

// database/sql works on it: queries, waiting for a connection, and a transaction, which
// holds the context and rolls back when it ends.
func TestTimeout_databaseSQL(t *testing.T) {
	conn := &stubConn{rolledBack: make(chan struct{}, 1)}
	db := sql.OpenDB(conn)
	defer db.Close()
	db.SetMaxOpenConns(1)

	require.NoError(t, limit(time.Minute).Do(t.Context(), func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "fast")
		return err
	}))

	err := limit(20*time.Millisecond).Do(t.Context(), func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "hang")
		return err
	})
	assert.ErrorIs(t, err, timeout.ErrTimeout)

	held, err := db.Conn(t.Context())
	require.NoError(t, err)
	err = limit(20*time.Millisecond).Do(t.Context(), func(ctx context.Context) error {
		_, err := db.ExecContext(ctx, "fast")
		return err
	})
	assert.ErrorIs(t, err, timeout.ErrTimeout, "waiting for a connection")
	require.NoError(t, held.Close())

	require.NoError(t, limit(time.Minute).Do(t.Context(), func(ctx context.Context) error {
		_, err := db.BeginTx(ctx, nil)
		return err
	}))
	<-conn.rolledBack // its context ended with the call
}

type stubConn struct{ rolledBack chan struct{} }

func (c *stubConn) Connect(context.Context) (driver.Conn, error) { return c, nil }
func (c *stubConn) Driver() driver.Driver                        { return nil }
func (c *stubConn) Prepare(string) (driver.Stmt, error)          { return nil, driver.ErrSkip }
func (c *stubConn) Close() error                                 { return nil }
func (c *stubConn) Begin() (driver.Tx, error)                    { return c, nil }
func (c *stubConn) Commit() error                                { return nil }
func (c *stubConn) Rollback() error                              { c.rolledBack <- struct{}{}; return nil }
func (c *stubConn) ExecContext(ctx context.Context, query string, _ []driver.NamedValue) (driver.Result, error) {
	if query == "hang" {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	return driver.RowsAffected(1), nil
}
