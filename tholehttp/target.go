package tholehttp

import (
	"net/url"
	"strings"
	"sync/atomic"
)

// notes is the target of the calls to one scheme and host.
type notes struct{ scheme, host, target string }

// targets finds the target of a call. Most clients talk to one destination most of the time, so the
// last ones are kept.
type targets struct {
	last atomic.Pointer[notes]
}

func (t *targets) of(u *url.URL) string {
	var scheme, host string
	if u != nil {
		scheme, host = u.Scheme, u.Host
	}
	if l := t.last.Load(); l != nil && l.scheme == scheme && l.host == host {
		return l.target
	}
	l := &notes{scheme, host, targetOf(u)}
	t.last.Store(l)
	return l.target
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
