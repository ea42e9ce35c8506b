package tholehttp

import (
	"net/http"
	"strings"
	"time"
	"unicode/utf8"
)

// rateLimitReset reads from the RateLimit header of a response that has just come when there
// will be quota again (draft-ietf-httpapi-ratelimit-headers-10, section 4). It reports false
// where the header says nothing of that, is malformed, or came out of a cache, which the Age
// header tells: then it is of another time, and maybe of another client.
func rateLimitReset(h http.Header) (time.Duration, bool) {
	lines := h["Ratelimit"] // as net/http writes RateLimit
	if len(lines) == 0 || len(h["Age"]) > 0 {
		return 0, false
	}
	if len(lines) == 1 {
		return parseRateLimit(lines[0])
	}
	return parseRateLimit(strings.Join(lines, ", ")) // RFC 9651, section 4.2
}

// parseRateLimit returns the longest time until more of a quota that is used up will be
// there: the largest t of the items whose r is 0. A positive r is no promise, and its t
// nothing to wait for. It reports false where no quota is used up, where none that is has a
// t, and where anything in the field is not as it must be.
func parseRateLimit(field string) (wait time.Duration, ok bool) {
	rest := strings.TrimLeft(field, " ")
	for {
		limit, after, valid := cutServiceLimit(rest)
		if !valid {
			return 0, false
		}
		if limit.remaining == 0 && limit.reset >= 0 {
			const most = int64(longestRetryAfter / time.Second)
			wait, ok = max(wait, time.Duration(min(limit.reset, most))*time.Second), true
		}
		if rest = strings.TrimLeft(after, " \t"); rest == "" {
			return wait, ok
		}
		if rest[0] != ',' {
			return 0, false
		}
		rest = strings.TrimLeft(rest[1:], " \t")
	}
}

// serviceLimit is an item of a RateLimit field, in so far as it is used.
type serviceLimit struct {
	remaining, reset int64 // r and t: an integer from 0, or what follows
}

const (
	sfAbsent = -1 // there is no such parameter
	sfOther  = -2 // its value is of another type, or negative
)

// cutServiceLimit cuts an item off the beginning of s: the policy's name, which is a string,
// with parameters, of which an r there must be, and those that are used must be right.
func cutServiceLimit(s string) (limit serviceLimit, rest string, ok bool) {
	limit = serviceLimit{remaining: sfAbsent, reset: sfAbsent}
	if s == "" || s[0] != '"' {
		return limit, s, false
	}
	if rest, ok = cutSFString(s); !ok {
		return limit, s, false
	}
	for rest != "" && rest[0] == ';' {
		var key string
		var value int64
		if key, value, rest, ok = cutSFParameter(rest); !ok {
			return limit, s, false
		}
		switch key { // the last of several counts
		case "r":
			limit.remaining = value
		case "t":
			limit.reset = value
		}
	}
	return limit, rest, limit.remaining >= 0 && limit.reset != sfOther
}

// What follows reads the syntax of structured fields, RFC 9651, section 4.2. Each function
// cuts what it is named after off the beginning of s, and reports false if it is not there.

// cutSFParameter cuts off a parameter with its semicolon. The value is that of a non-negative
// integer, or sfOther.
func cutSFParameter(s string) (key string, value int64, rest string, ok bool) {
	s = strings.TrimLeft(s[1:], " ")
	n := 0
	for n < len(s) && isSFKey(s[n], n == 0) {
		n++
	}
	key, rest = s[:n], s[n:]
	if n == 0 || rest == "" || rest[0] != '=' {
		return key, sfOther, rest, n > 0 // without a value it is true
	}
	value, rest, ok = cutSFBareItem(rest[1:])
	return key, value, rest, ok
}

// cutSFBareItem cuts off a value of any type. It is returned if it is an integer that is not
// negative, else sfOther is.
func cutSFBareItem(s string) (value int64, rest string, ok bool) {
	if s == "" {
		return sfOther, s, false
	}
	switch c := s[0]; {
	case c == '-' || isDigit(c):
		return cutSFNumber(s)
	case c == '"':
		rest, ok = cutSFString(s)
	case c == '*' || isAlpha(c):
		rest, ok = cutSFToken(s), true
	case c == ':':
		rest, ok = cutSFBytes(s)
	case c == '?':
		rest, ok = cutSFBoolean(s)
	case c == '@':
		rest, ok = cutSFDate(s)
	case c == '%':
		rest, ok = cutSFDisplayString(s)
	}
	return sfOther, rest, ok
}

// cutSFNumber cuts off an integer of at most 15 digits, or a decimal of at most 12 before
// its point and 3 behind it.
func cutSFNumber(s string) (value int64, rest string, ok bool) {
	digits := strings.TrimPrefix(s, "-")
	n := countDigits(digits)
	if n == 0 || n > 15 {
		return sfOther, s, false
	}
	if rest = digits[n:]; rest != "" && rest[0] == '.' {
		fraction := countDigits(rest[1:])
		return sfOther, rest[1+fraction:], n <= 12 && 1 <= fraction && fraction <= 3
	}
	for i := range n {
		value = value*10 + int64(digits[i]-'0')
	}
	if len(digits) < len(s) && value > 0 {
		value = sfOther
	}
	return value, rest, true
}

func cutSFString(s string) (rest string, ok bool) {
	for i := 1; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], true
		case c == '\\':
			if i++; i == len(s) || s[i] != '"' && s[i] != '\\' {
				return s, false
			}
		case !isPrintable(c):
			return s, false
		}
	}
	return s, false
}

func cutSFToken(s string) (rest string) {
	n := 1
	for n < len(s) && (isAlpha(s[n]) || isDigit(s[n]) || strings.IndexByte("!#$%&'*+-.^_`|~:/", s[n]) >= 0) {
		n++
	}
	return s[n:]
}

// cutSFBytes cuts off base64 between colons. Its padding may be absent, and the bits that are
// left over may be anything: what the RFC asks of its readers.
func cutSFBytes(s string) (rest string, ok bool) {
	encoded, rest, ok := strings.Cut(s[1:], ":")
	data := strings.TrimRight(encoded, "=")
	for i := range len(data) {
		if c := data[i]; !isAlpha(c) && !isDigit(c) && c != '+' && c != '/' {
			return s, false
		}
	}
	padding, missing := len(encoded)-len(data), -len(data)&3
	return rest, ok && missing != 3 && (padding == 0 || padding == missing)
}

func cutSFBoolean(s string) (rest string, ok bool) {
	if len(s) < 2 || s[1] != '0' && s[1] != '1' {
		return s, false
	}
	return s[2:], true
}

// cutSFDate cuts off an @ with an integer.
func cutSFDate(s string) (rest string, ok bool) {
	digits := strings.TrimPrefix(s[1:], "-")
	n := countDigits(digits)
	return digits[n:], 1 <= n && n <= 15
}

// cutSFDisplayString cuts off a string with a percent sign before it, which is UTF-8 whose
// bytes beyond ASCII are written as two hexadecimal digits in lower case.
func cutSFDisplayString(s string) (rest string, ok bool) {
	if len(s) < 2 || s[1] != '"' {
		return s, false
	}
	var text []byte
	for i := 2; i < len(s); i++ {
		switch c := s[i]; {
		case c == '"':
			return s[i+1:], utf8.Valid(text)
		case c == '%':
			if i+2 >= len(s) || !isLowerHex(s[i+1]) || !isLowerHex(s[i+2]) {
				return s, false
			}
			text = append(text, lowerHex(s[i+1])<<4|lowerHex(s[i+2]))
			i += 2
		case !isPrintable(c):
			return s, false
		default:
			text = append(text, c)
		}
	}
	return s, false
}

func isSFKey(c byte, first bool) bool {
	return 'a' <= c && c <= 'z' || c == '*' || !first && (isDigit(c) || c == '_' || c == '-' || c == '.')
}

func isDigit(c byte) bool     { return '0' <= c && c <= '9' }
func isAlpha(c byte) bool     { return 'a' <= c|0x20 && c|0x20 <= 'z' }
func isPrintable(c byte) bool { return ' ' <= c && c <= '~' }
func isLowerHex(c byte) bool  { return isDigit(c) || 'a' <= c && c <= 'f' }

func lowerHex(c byte) byte {
	if isDigit(c) {
		return c - '0'
	}
	return c - 'a' + 10
}

func countDigits(s string) int {
	n := 0
	for n < len(s) && isDigit(s[n]) {
		n++
	}
	return n
}
