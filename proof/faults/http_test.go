package faults

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/tholehttp"
)

var protocols = []protocol{
	{"HTTP 1", func(t *testing.T, p thole.Policy) (*Proxy, func(context.Context) error, func(), func()) {
		return beginHTTP(t, p, 1, false)
	}},
	{"HTTP 2", func(t *testing.T, p thole.Policy) (*Proxy, func(context.Context) error, func(), func()) {
		return beginHTTP(t, p, 2, true)
	}},
	{"HTTP 2 without TLS", func(t *testing.T, p thole.Policy) (*Proxy, func(context.Context) error, func(), func()) {
		return beginHTTP(t, p, 2, false)
	}},
	{"gRPC", beginGRPC},
}

// text is the answer: more than one segment.
var text = strings.Repeat("a pin that holds an oar in place\n", 100)

func beginHTTP(t *testing.T, policy thole.Policy, major int, secure bool) (*Proxy, func(context.Context) error, func(), func()) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		io.Copy(io.Discard, r.Body)
		io.WriteString(w, text[:len(text)/2])
		w.(http.Flusher).Flush()
		io.WriteString(w, text[len(text)/2:])
	}))
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that failed, which is meant
	server.Config.Protocols = new(http.Protocols)
	server.Config.Protocols.SetHTTP1(major == 1)
	server.Config.Protocols.SetHTTP2(secure)
	server.Config.Protocols.SetUnencryptedHTTP2(major == 2 && !secure)
	server.EnableHTTP2 = secure
	base := &http.Transport{Protocols: server.Config.Protocols, MaxIdleConnsPerHost: workers}
	scheme := "http"
	if secure {
		scheme = "https"
		server.StartTLS()
		roots := x509.NewCertPool()
		roots.AddCert(server.Certificate())
		base.TLSClientConfig = &tls.Config{RootCAs: roots, ServerName: "example.com"}
	} else {
		server.Start()
	}
	proxy, err := NewProxy(server.Listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{Transport: tholehttp.NewTransport(base, policy, tholehttp.TransportConfig{})}
	call := func(ctx context.Context) error {
		req, err := http.NewRequestWithContext(ctx, http.MethodPut, scheme+"://"+proxy.Addr(), strings.NewReader("a body"))
		if err != nil {
			return err
		}
		resp, err := client.Do(req)
		if err != nil {
			return err
		}
		defer resp.Body.Close()
		body, err := io.ReadAll(resp.Body)
		switch {
		case err != nil:
			return err
		case resp.StatusCode != http.StatusOK:
			return errors.New(resp.Status)
		case string(body) != text || resp.ProtoMajor != major:
			return fmt.Errorf("%w: %s, %d bytes", errWrongAnswer, resp.Proto, len(body))
		}
		return nil
	}
	end := func() {
		base.CloseIdleConnections()
		proxy.Close()
		server.Close()
	}
	return proxy, call, base.CloseIdleConnections, end
}
