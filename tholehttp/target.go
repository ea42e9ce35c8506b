package tholehttp

import (
	"context"
	"net/url"
	"strings"
	"sync/atomic"

	"github.com/thole-go/thole"
)

// notes is what the policies are to find in the context of every call to one destination.
// They are made once, as contexts of their own, and laid over those of the calls.
type notes struct {
	scheme, host string
	repeatable   context.Context
	once         context.Context
}

// overlay is a context with the values of another before its own.
type overlay struct {
	context.Context
	values context.Context
}

func (o *overlay) Value(key any) any {
	if v := o.values.Value(key); v != nil {
		return v
	}
	return o.Context.Value(key)
}

// targets makes the notes. Most clients talk to one destination most of the time, so the
// last ones are kept.
type targets struct {
	last atomic.Pointer[notes]
}

func (t *targets) of(u *url.URL) *notes {
	var scheme, host string
	if u != nil {
		scheme, host = u.Scheme, u.Host
	}
	if l := t.last.Load(); l != nil && l.scheme == scheme && l.host == host {
		return l
	}
	ctx := thole.WithTarget(context.Background(), targetOf(u))
	l := &notes{scheme, host, ctx, thole.Once(ctx)}
	t.last.Store(l)
	return l
}

// targetOf names the destination of u: scheme://host:port in lower case, with the scheme's
// default port filled in. It tells connections apart, so it is the URL's host and not the
// Host header.
func targetOf(u *url.URL) string {
	if u == nil || u.Host == "" {
		return ""
	}
	scheme, host := strings.ToLower(u.Scheme), strings.ToLower(u.Host)
	if u.Port() != "" {
		return scheme + "://" + host
	}
	host = strings.TrimSuffix(host, ":")
	switch scheme {
	case "http":
		return scheme + "://" + host + ":80"
	case "https":
		return scheme + "://" + host + ":443"
	}
	return scheme + "://" + host
}
