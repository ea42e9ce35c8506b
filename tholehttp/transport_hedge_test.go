package tholehttp_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/hedge"
)

func hedging(delay time.Duration) thole.Policy {
	return hedge.New(hedge.Config{Delay: delay, Budget: thole.NoBudget})
}

func TestTransport_rule41_hedgesWinnerIsReadableAndItsLoserLeavesNothing(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		content := strings.Repeat("content ", 10<<10)
		var n, cancelled atomic.Int64
		base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1)%2 == 1 {
				<-r.Context().Done()
				cancelled.Add(1)
				return
			}
			_, _ = io.WriteString(w, content)
		})
		tr := transport(base, thole.Chain(limit(time.Minute), retrier(2), hedging(time.Second), limit(10*time.Second)))
		for i := range 20 {
			start := time.Now()
			resp, err := tr.RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, time.Second, time.Since(start))
			synctest.Wait()
			require.EqualValues(t, i+1, cancelled.Load(), "the loser is told at once")
			require.Equal(t, content, readAll(t, resp))
		}
	})
}

func TestTransport_hedgesFailedResponseFreesTheOnlyConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var n atomic.Int64
		base, _ := servePipes(t, func(w http.ResponseWriter, r *http.Request) {
			if n.Add(1) == 1 {
				time.Sleep(2 * time.Second) // of the bubble's time: the hedge waits for the connection
				w.WriteHeader(503)
				_, _ = io.WriteString(w, strings.Repeat("x", 10<<10))
				return
			}
			_, _ = io.WriteString(w, "fine")
		})
		base.MaxConnsPerHost = 1
		resp, err := transport(base, thole.Chain(hedging(time.Second), limit(time.Minute))).RoundTrip(get(t, "http://server.test/"))
		require.NoError(t, err)
		require.Equal(t, 200, resp.StatusCode)
		require.Equal(t, "fine", readAll(t, resp))
	})
}

func TestTransport_hedgesFailingResponseIsReturned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		for _, alone := range []bool{true, false} {
			var made bodies
			base := roundTripper(func(r *http.Request) (*http.Response, error) {
				if !alone {
					time.Sleep(2 * time.Second) // of the bubble's time
				}
				return reply(r, 503, made.new("busy")), nil
			})
			resp, err := transport(base, thole.Chain(hedging(time.Second), limit(time.Minute))).RoundTrip(get(t, "http://server.test/"))
			require.NoError(t, err)
			require.Equal(t, 503, resp.StatusCode)
			require.Equal(t, "busy", readAll(t, resp))
			synctest.Wait()
			made.requireClosed(t)
		}
	})
}

func TestTransport_rule41_hedgesFailingResponseIsReturnedAlthoughAnotherAttemptQueued(t *testing.T) {
	for name, second := range map[string]func(*http.Request, *bodies) (*http.Response, error){
		"fails too": func(r *http.Request, made *bodies) (*http.Response, error) {
			return reply(r, 503, made.new("second")), nil
		},
		"meets error":  func(*http.Request, *bodies) (*http.Response, error) { return nil, io.ErrUnexpectedEOF },
		"is not asked": nil,
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var made bodies
				base := roundTripper(func(r *http.Request) (*http.Response, error) {
					if thole.AttemptFrom(r.Context()).Hedge > 0 {
						return second(r, &made)
					}
					time.Sleep(2 * time.Second) // of the bubble's time
					return reply(r, 503, made.new("first")), nil
				})
				queue := thole.PolicyFunc(func(ctx context.Context, fn func(context.Context) error) error {
					if thole.AttemptFrom(ctx).Hedge == 0 {
						return fn(ctx)
					}
					time.Sleep(5 * time.Second) // of the bubble's time
					if second == nil {
						return errRefused
					}
					return fn(ctx)
				})
				resp, err := transport(base, thole.Chain(hedging(time.Second), queue)).RoundTrip(get(t, "http://server.test/"))
				require.NoError(t, err)
				require.Equal(t, 503, resp.StatusCode)
				require.Equal(t, "first", readAll(t, resp))
				synctest.Wait()
				made.requireClosed(t)
			})
		})
	}
}

func TestTransport_rule43_hedgeNeverRepeatsAPost(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		sent := 0
		base := roundTripper(func(r *http.Request) (*http.Response, error) {
			sent++
			time.Sleep(time.Minute) // of the bubble's time
			return reply(r, 200, http.NoBody), nil
		})
		r := get(t, "http://server.test/")
		r.Method = http.MethodPost
		_, err := transport(base, hedging(time.Second)).RoundTrip(r)
		require.NoError(t, err)
		require.Equal(t, 1, sent)
	})
}
