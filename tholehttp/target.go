package tholehttp

import (
	"net/url"
	"strings"
	"sync/atomic"
)

// targets makes the names of destinations, scheme://host:port. Most clients talk to one
// destination most of the time, so the last name is kept.
type targets struct {
	last atomic.Pointer[namedTarget]
}

type namedTarget struct{ scheme, host, name string }

func (t *targets) of(u *url.URL) string {
	if u == nil {
		return ""
	}
	if l := t.last.Load(); l != nil && l.scheme == u.Scheme && l.host == u.Host {
		return l.name
	}
	name := targetOf(u)
	t.last.Store(&namedTarget{u.Scheme, u.Host, name})
	return name
}

// targetOf names the destination of u: in lower case, with the scheme's default port filled
// in. It tells connections apart, so it is the URL's host and not the Host header.
func targetOf(u *url.URL) string {
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
