package tholehttp

import (
	"encoding/base64"
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
)

func TestRateLimit_longestResetOfAQuotaThatIsUsedUp(t *testing.T) {
	for field, want := range map[string]time.Duration{
		`"default";r=0;t=30`:                                  30 * time.Second,
		`"default";t=30;r=0`:                                  30 * time.Second,
		`"default";r=0;t=30;pk=:dHJpYWwxMjEzMjM=:`:            30 * time.Second,
		`"a";r=0;t=5,"b";r=0;t=60,"c";r=0;t=7`:                time.Minute,
		`"a";r=50;t=600, "b";r=0;t=5`:                         5 * time.Second,
		`"a";r=0, "b";r=0;t=5`:                                5 * time.Second,
		`"a";r=0;t=0`:                                         0,
		`"a";r=-0;t=-0`:                                       0,
		`"a";r=000;t=007`:                                     7 * time.Second,
		`"";r=0;t=9`:                                          9 * time.Second,
		`"say \"\\\", once, and; r=1";r=0;t=9`:                9 * time.Second,
		"  \"a\"; r=0;   t=9 \t,\t \"b\";r=1  ":               9 * time.Second,
		"\"a\";r=0;t=9\t":                                     9 * time.Second,
		`"a";r=0;t=3153600001`:                                longestRetryAfter,
		`"a";r=0;t=999999999999999`:                           longestRetryAfter,
		`"a";r=7;r=0;t=1;t=9`:                                 9 * time.Second, // the last counts,
		`"a";r="0";t=1.5;r=0;t=9`:                             9 * time.Second, // whatever the others are
		`"a";r=0;t=9;r1=5;tt=6;*=1;a-b_c.d*=2;*x`:             9 * time.Second,
		`"a";r=0;t=9;x=-999999999999999;y=-1.5;z=1.125`:       9 * time.Second,
		`"a";r=0;t=9;x=999999999999.999`:                      9 * time.Second,
		`"a";r=0;t=9;x=tok/en:!#$%&'*+-.^_|~` + "`" + `;y=*t`: 9 * time.Second,
		`"a";r=0;t=9;x="string";y=?1;z=?0`:                    9 * time.Second,
		`"a";r=0;t=9;x=@1659578233;y=@-62135596800;z=@0`:      9 * time.Second,
		`"a";r=0;t=9;x=%"This is %f0%9f%98%80, 100%25";y=%""`: 9 * time.Second,
		`"a";r=0;t=9;x=::;y=:YWI=:;z=:YWJj:`:                  9 * time.Second,
		`"a";r=0;t=9;pk=:cHsdsRa894==:`:                       9 * time.Second, // bits left over
		`"a";r=0;t=9;pk=:YWI:`:                                9 * time.Second, // no padding
		`"a";r=0;t=9;pk="of another type"`:                    9 * time.Second, // and not used
	} {
		got, ok := parseRateLimit(field)
		require.True(t, ok, "%s", field)
		require.Equal(t, want, got, "%s", field)
	}
}

func TestRateLimit_saysNothing(t *testing.T) {
	for _, field := range []string{
		`"default";r=50;t=30`,
		`"default";r=1;t=30`,
		`"default";r=999999999999999;t=30`,
		`"default";r=0`,
		`"default";r=0;pk=:YWI=:`,
		`"a";r=0, "b";r=1;t=30`,
	} {
		_, ok := parseRateLimit(field)
		require.False(t, ok, "%s", field)
		requireWellFormed(t, field, true)
	}
}

// malformedRateLimits are fields of which nothing may be obeyed, however much in them is right.
var malformedRateLimits = map[string][]string{
	"no list": {
		``, ` `, `,`, `"a";r=0;t=9,`, `"a";r=0;t=9, `, `,"a";r=0;t=9`, `"a";r=0;t=9,,"b";r=0;t=9`, `"a";r=0;t=9 "b";r=0;t=9`,
		`"a";r=0;t=9;`, `"a";r=0;t=9; `, `"a";;r=0;t=9`, `"a" ;r=0;t=9`, "\"a\";\tr=0;t=9", `"a";r=0;t=9;ü`,
		"\"a\";r=0;t=9\n", "\"a\";r=0;t=9\x00", "\u00a0\"a\";r=0;t=9", `"a";r=0;t=9/"b";r=0;t=9`,
	},
	"no name": {
		`r=0;t=9`, `r=0, t=9`, `;r=0;t=9`, `default;r=0;t=9`, `limit=100, remaining=0, reset=9`, `100;r=0;t=9`, `1.5;r=0;t=9`,
		`?1;r=0;t=9`, `:YWI=:;r=0;t=9`, `@5;r=0;t=9`, `%"a";r=0;t=9`, `("a");r=0;t=9`, `("a";r=0;t=9)`, `a="b";r=0;t=9`, `'a';r=0;t=9`,
	},
	"string": {
		`"a;r=0;t=9`, `"`, `"a\";r=0;t=9`, `"a\`, `"a\n";r=0;t=9`, "\"a\tb\";r=0;t=9", "\"a\x7f\";r=0;t=9", "\"ü\";r=0;t=9", "\"\xff\";r=0;t=9",
		`"a";r=0;t=9;x="`, `"a";r=0;t=9;x="\a"`, `"a"b";r=0;t=9`,
	},
	"r": {
		`"a"`, `"a";t=9`, `"a";R=0;t=9`, `"a";r;t=9`, `"a";r=;t=9`, `"a";r=-1;t=9`, `"a";r=0.0;t=9`, `"a";r="0";t=9`, `"a";r=zero;t=9`, `"a";r=?0;t=9`,
		`"a";r=@0;t=9`, `"a";r=::;t=9`, `"a";r=%"0";t=9`, `"a";r=0;t=9;r=?1`, `"a";r=0;t=9;r`, `"a";r=+0;t=9`, `"a";r =0;t=9`, `"a";r= 0;t=9`,
		`"a";r=0x0;t=9`, `"a";r=--0;t=9`, `"a";r=-;t=9`, `"a";r=0000000000000000;t=9`, `"a";r=0;t=9,"b";t=9`, `"a";r=0;t=9,"b";r=-1`,
	},
	"t": {
		`"a";r=0;t`, `"a";r=0;t=`, `"a";r=0;t=-1`, `"a";r=0;t=-9`, `"a";r=0;t=9.0`, `"a";r=0;t=9.5`, `"a";r=0;t="9"`, `"a";r=0;t=soon`, `"a";r=0;t=?1`,
		`"a";r=0;t=@9`, `"a";r=0;t=:YWI=:`, `"a";r=0;t=%"9"`, `"a";r=0;t=9s`, `"a";r=0;t=1e3`, `"a";r=0;t=9;t=x`, `"a";r=0;t=9;t`, `"a";r=0;t=9223372036854775807`,
		`"a";r=0;t=1000000000000000`, `"a";r=0;t=-1000000000000000`, `"a";r=0;t=9,"b";r=5;t=x`, `"a";r=0;t=NaN`, `"a";r=0;t=９`,
		`"a";r=0;t=` + strings.Repeat("9", 500), `"a";r=0;t=Sun, 01 Mar 2026 12:00:30 GMT`,
	},
	"key": {
		`"a";r=0;t=9;X=1`, `"a";r=0;t=9;1x`, `"a";r=0;t=9;-x`, `"a";r=0;t=9;_x`, `"a";r=0;t=9;.x`, `"a";r=0;t=9;=1`, `"a";r=0;t=9;xY=1`, `"a";r=0;t=9;"x"=1`, `"a";r=0;t=9;x =1`,
	},
	"number": {
		`"a";r=0;t=9;x=1234567890123456`, `"a";r=0;t=9;x=1.`, `"a";r=0;t=9;x=.5`, `"a";r=0;t=9;x=1.1234`, `"a";r=0;t=9;x=1234567890123.1`, `"a";r=0;t=9;x=1.2.3`,
		`"a";r=0;t=9;x=-`, `"a";r=0;t=9;x=-a`, `"a";r=0;t=9;x=+1`, `"a";r=0;t=9;x=1e5`,
	},
	"token": {`"a";r=0;t=9;x=a(b`, `"a";r=0;t=9;x=a"b"`, `"a";r=0;t=9;x=!a`, `"a";r=0;t=9;x=ä`, `"a";r=0;t=9;x=a=b`, `"a";r=0;t=9;x=(a b)`},
	"bytes": {
		`"a";r=0;t=9;x=:`, `"a";r=0;t=9;x=:YWI=`, `"a";r=0;t=9;x=:YW I=:`, `"a";r=0;t=9;x=:_-Ah:`, `"a";r=0;t=9;x=:Y:`, `"a";r=0;t=9;x=:YWJjZ:`, `"a";r=0;t=9;x=:YW=:`,
		`"a";r=0;t=9;x=:YWI==:`, `"a";r=0;t=9;x=:=YWI:`, `"a";r=0;t=9;x=:Y=WI:`, `"a";r=0;t=9;x=:====:`, `"a";r=0;t=9;x=:=:`, `"a";r=0;t=9;x=:YWJj====:`, `"a";r=0;t=9;x=:YWI=:a`,
		"\"a\";r=0;t=9;x=:YW\nI=:", `"a";r=0;t=9;x=:YWI.:`,
	},
	"boolean": {`"a";r=0;t=9;x=?`, `"a";r=0;t=9;x=?2`, `"a";r=0;t=9;x=?01`, `"a";r=0;t=9;x=?true`, `"a";r=0;t=9;x=?T`},
	"date":    {`"a";r=0;t=9;x=@`, `"a";r=0;t=9;x=@1.5`, `"a";r=0;t=9;x=@-`, `"a";r=0;t=9;x=@now`, `"a";r=0;t=9;x=@1234567890123456`, `"a";r=0;t=9;x=@+1`, `"a";r=0;t=9;x=@1.`},
	"display string": {
		`"a";r=0;t=9;x=%`, `"a";r=0;t=9;x=%a`, `"a";r=0;t=9;x=%"a`, `"a";r=0;t=9;x=%"%"`, `"a";r=0;t=9;x=%"%a"`, `"a";r=0;t=9;x=%"%C3%BC"`, `"a";r=0;t=9;x=%"%c3"`, `"a";r=0;t=9;x=%"%ff"`,
		`"a";r=0;t=9;x=%"%g0"`, `"a";r=0;t=9;x=%"ü"`, "\"a\";r=0;t=9;x=%\"a\tb\"", `"a";r=0;t=9;x=%"%ed%a0%80"`, `"a";r=0;t=9;x=%"a%2`, "\"a\";r=0;t=9;x=%\"\x7f\"",
	},
	"no value": {`"a";r=0;t=9;x=`, `"a";r=0;t=9;x=;y`, `"a";r=0;t=9;x=,"b";r=0;t=9`, `"a";r=0;t=9;x=#`, `"a";r=0;t=9;x=(`, `"a";r=0;t=9;x= 1`},
}

func TestRateLimit_malformedIsIgnoredWhole(t *testing.T) {
	for kind, fields := range malformedRateLimits {
		for _, field := range fields {
			got, ok := parseRateLimit(field)
			require.False(t, ok, "%s: %q", kind, field)
			require.Zero(t, got, "%s: %q", kind, field)
			requireWellFormed(t, field, false)
			for _, field := range []string{field + `,"b";r=0;t=5`, `"b";r=0;t=5,` + field} {
				_, ok = parseRateLimit(field)
				require.False(t, ok, "%s, beside what is right: %q", kind, field)
			}
		}
	}
	_, ok := parseRateLimit("\t\"a\";r=0;t=9") // a tab may stand about a comma, but not at the beginning
	require.False(t, ok)
}

// requireWellFormed asserts that the table's claim is not of our parser alone.
func requireWellFormed(t *testing.T, field string, want bool) {
	t.Helper()
	_, ok := referenceRateLimit(field)
	require.Equal(t, want, ok, "%q, by the reference", field)
}

func TestRateLimit_headerLines(t *testing.T) {
	const used = `"a";r=0;t=9`
	rows := map[string]struct {
		header http.Header
		want   time.Duration // negative: none
	}{
		"none":              {http.Header{}, -1},
		"nil":               {nil, -1},
		"no line":           {http.Header{"Ratelimit": {}}, -1},
		"empty line":        {http.Header{"Ratelimit": {""}}, -1},
		"one":               {http.Header{"Ratelimit": {used}}, 9 * time.Second},
		"several":           {http.Header{"Ratelimit": {used, `"b";r=0;t=60`, `"c";r=5;t=500`}}, time.Minute},
		"one of them wrong": {http.Header{"Ratelimit": {used, `"b";r=0;t=x`}}, -1},
		"one of them empty": {http.Header{"Ratelimit": {used, ""}}, -1},
		"a string in two":   {http.Header{"Ratelimit": {`"a`, `b";r=0;t=9`}}, 9 * time.Second}, // as the RFC has it
		"cached":            {http.Header{"Ratelimit": {used}, "Age": {"5"}}, -1},
		"cached just now":   {http.Header{"Ratelimit": {used}, "Age": {"0"}}, -1},
		"age unknown":       {http.Header{"Ratelimit": {used}, "Age": {""}}, -1},
		"legacy": {http.Header{"X-Ratelimit-Remaining": {"0"}, "X-Ratelimit-Reset": {"9"}, "X-Ratelimit": {used},
			"Ratelimit-Remaining": {"0"}, "Ratelimit-Reset": {"9"}, "Ratelimit-Limit": {"1"}}, -1},
		"policy alone":      {http.Header{"Ratelimit-Policy": {`"a";q=0;w=60`, used}}, -1},
		"with policy":       {http.Header{"Ratelimit": {used}, "Ratelimit-Policy": {`"a";q=1;w=60;pk=:YWI=:`}}, 9 * time.Second},
		"with wrong policy": {http.Header{"Ratelimit": {used}, "Ratelimit-Policy": {`a;q`}}, 9 * time.Second},
	}
	for name, row := range rows {
		got, ok := rateLimitReset(row.header)
		require.Equal(t, row.want >= 0, ok, name)
		require.Equal(t, max(row.want, 0), got, name)
	}
}

func TestStatusError_retryAfterComesBeforeRateLimit(t *testing.T) {
	rows := []struct {
		after, limit string
		want         time.Duration // negative: none
	}{
		{"3", `"a";r=0;t=30`, 3 * time.Second},
		{"0", `"a";r=0;t=30`, 0},
		{"60", `"a";r=0;t=30`, time.Minute},
		{"Sun, 06 Nov 1994 08:49:37 GMT", `"a";r=0;t=30`, 0},
		{"3", `"a";r=0;t=x`, 3 * time.Second},
		{"", `"a";r=0;t=30`, 30 * time.Second},
		{"soon", `"a";r=0;t=30`, 30 * time.Second},
		{"-1", `"a";r=0;t=30`, 30 * time.Second},
		{"", `"a";r=0;t=0`, 0},
		{"", `"a";r=1;t=30`, -1},
		{"soon", `"a";r=0`, -1},
		{"soon", `a;r=0;t=30`, -1},
	}
	for _, row := range rows {
		h := http.Header{}
		h.Set("Retry-After", row.after)
		h.Set("RateLimit", row.limit)
		e := &StatusError{429, &http.Response{StatusCode: 429, Header: h}}
		for _, err := range []error{e, &judged{e, thole.Failure}, thole.Permanent(e)} {
			got, ok := thole.RetryAfter(err)
			require.Equal(t, row.want >= 0, ok, "%v", row)
			require.Equal(t, max(row.want, 0), got, "%v", row)
		}
	}
}

// A second opinion on what a field means: the grammar of RFC 9651 as regular expressions.

const (
	sfString  = `"(?:[ !#-\[\]-~]|\\["\\])*"`
	sfBytes   = `:[A-Za-z0-9+/=]*:`
	sfDisplay = `%"(?:[ !#$&-~]|%[0-9a-f]{2})*"`
	sfBare    = `(?:-?[0-9]{1,12}\.[0-9]{1,3}|-?[0-9]{1,15}|` + sfString + "|[A-Za-z*][A-Za-z0-9!#$%&'*+.^_`|~:/-]*|" +
		sfBytes + `|\?[01]|@-?[0-9]{1,15}|` + sfDisplay + `)`
	sfParam = `; *[a-z*][a-z0-9_.*-]*(?:=` + sfBare + `)?`
	sfItem  = sfString + `(?:` + sfParam + `)*`
)

var (
	sfWholeList = regexp.MustCompile(`^ *` + sfItem + `(?:[ \t]*,[ \t]*` + sfItem + `)*[ \t]*$`)
	sfFirstItem = regexp.MustCompile(`^[ \t,]*(` + sfString + `)((?:` + sfParam + `)*)`)
	sfFirstPara = regexp.MustCompile(`^; *([a-z*][a-z0-9_.*-]*)(?:=(` + sfBare + `))?`)
	sfInteger   = regexp.MustCompile(`^(?:-0+|[0-9]{1,15})$`)
)

// referenceItem is an item as a server would write it.
type referenceItem struct{ name, r, t string }

func (i referenceItem) String() string {
	s := i.name + ";r=" + i.r
	if i.t != "" {
		s += ";t=" + i.t
	}
	return s
}

// referenceRateLimit returns a field's items, and false if it is malformed.
func referenceRateLimit(field string) (items []referenceItem, ok bool) {
	if !sfWholeList.MatchString(field) {
		return nil, false
	}
	for strings.Trim(field, " \t,") != "" {
		m := sfFirstItem.FindStringSubmatch(field)
		field = field[len(m[0]):]
		item, params := referenceItem{name: m[1]}, m[2]
		for params != "" {
			p := sfFirstPara.FindStringSubmatch(params)
			params = params[len(p[0]):]
			if !referenceValue(p[2]) {
				return nil, false
			}
			value := p[2]
			if value == "" {
				value = "?1"
			}
			switch p[1] {
			case "r":
				item.r = value
			case "t":
				item.t = value
			}
		}
		if !sfInteger.MatchString(item.r) || item.t != "" && !sfInteger.MatchString(item.t) {
			return nil, false
		}
		items = append(items, item)
	}
	return items, true
}

// referenceValue says of a value what its grammar does not.
func referenceValue(v string) bool {
	switch {
	case strings.HasPrefix(v, ":"):
		v = strings.Trim(v, ":")
		_, padded := base64.StdEncoding.DecodeString(v)
		_, bare := base64.RawStdEncoding.DecodeString(v)
		return padded == nil || bare == nil
	case strings.HasPrefix(v, "%"):
		text, err := url.PathUnescape(v[2 : len(v)-1])
		return err == nil && utf8.ValidString(text)
	}
	return true
}

// referenceWait is what the items mean.
func referenceWait(items []referenceItem) (wait time.Duration, ok bool) {
	for _, item := range items {
		r, _ := strconv.ParseInt(item.r, 10, 64)
		t, err := strconv.ParseInt(item.t, 10, 64)
		if r == 0 && err == nil {
			ok = true
			if t > int64(longestRetryAfter/time.Second) {
				return longestRetryAfter, true
			}
			wait = max(wait, time.Duration(t)*time.Second)
		}
	}
	return wait, ok
}

func TestRateLimit_agreesWithTheReference(t *testing.T) {
	random := rand.New(rand.NewPCG(44, 9651))
	pieces := strings.Fields(`"a" "" "\"" "\\" , , ; ; ;r=0 ;r=0 ;r=1 ;r=-0 ;r=-1 ;r ;r=x ;t=9 ;t=9 ;t=0 ;t=400 ;t=1.5 ;t ;t=3153600001 ;t=0000000000000009 ;x=
		;x=1.5 ;x=1. ;x=123456789012345 ;x=1234567890123456 ;x=123456789012.123 ;x=1234567890123.1 ;x=-1 ;x=tok/en ;x=*a ;x=:YWI=: ;x=:YWI: ;x=:YWJj: ;x=:YQ=: ;x=:Y:
		;x=:: ;x=?1 ;x=?2 ;x=@5 ;x=@-5 ;x=@1.5 ;x=%"%c3%bc" ;x=%"%c3" ;x=%"" ;x="s" ;x=("s") ;*a-b_c.d*=1 ;X=1 ;1=1 a 1 " \ % : = - . ü r=0 t=9`)
	pieces = append(pieces, " ", " ", "\t")
	found, malformed := 0, 0
	for range 50_000 {
		var b strings.Builder
		for range 1 + random.IntN(3) {
			if b.Len() > 0 {
				b.WriteString([]string{",", ", ", " ,\t"}[random.IntN(3)])
			}
			b.WriteString([]string{`"a";r=0;t=9`, `"b";t=77;r=0`, `"c";r=1;t=7`, `"d"; r=0`}[random.IntN(4)])
			for range random.IntN(3) {
				b.WriteString(pieces[random.IntN(len(pieces))])
			}
		}
		field := b.String()
		items, wellFormed := referenceRateLimit(field)
		want, wantOK := referenceWait(items)
		got, ok := parseRateLimit(field)
		require.Equal(t, wantOK, ok, "%q", field)
		require.Equal(t, want, got, "%q", field)
		if ok {
			found++
		}
		if !wellFormed {
			malformed++
		}
	}
	require.Greater(t, found, 10_000)
	require.Greater(t, malformed, 10_000)
}

func FuzzRateLimit(f *testing.F) {
	for _, seed := range []string{
		`"default";r=50;t=30`, `"default";r=0;t=30`, `"a";r=0;t=5, "b";r=0;t=60;pk=:dHJpYWwxMjEzMjM=:`, "\"\\\"\\\\\"; r=0; t=9 \t, \"b\";r=-0",
		`"a";r=0;r=?1;r=0;t=999999999999999;x=1.5;y=tok/en;z=@-5`, `"a";r=0;t=9;x=%"%c3%bc";y="s";w=?0;v`, `"a";r=0;t=9;x=:YWI:;y=:YQ==:;z=::`,
	} {
		f.Add(seed)
	}
	for _, fields := range malformedRateLimits {
		f.Add(fields[0])
		f.Add(fields[len(fields)-1])
	}
	f.Fuzz(func(t *testing.T, field string) {
		got, ok := parseRateLimit(field)
		if got < 0 || got > longestRetryAfter || !ok && got != 0 {
			t.Fatalf("%q: %v, %v", field, got, ok)
		}
		items, wellFormed := referenceRateLimit(field)
		if want, wantOK := referenceWait(items); got != want || ok != wantOK {
			t.Fatalf("%q: %v, %v; the reference says %v, %v", field, got, ok, want, wantOK)
		}
		// What says nothing and what is malformed differ by what comes of the next item.
		next, accepted := parseRateLimit(field + `,"next";r=0;t=5`)
		if _, want := referenceRateLimit(field + `,"next";r=0;t=5`); accepted != want || wellFormed && !accepted {
			t.Fatalf("%q with another item: %v; the reference says %v", field, accepted, want)
		}
		if !wellFormed {
			return
		}
		if next != max(got, 5*time.Second) {
			t.Fatalf("%q with another item is %v, without it %v", field, next, got)
		}
		// Written anew it means the same, in any number of lines.
		var lines []string
		for _, item := range items {
			lines = append(lines, fmt.Sprint(item))
		}
		for _, h := range []http.Header{{"Ratelimit": lines}, {"Ratelimit": {strings.Join(lines, ",")}}} {
			if again, againOK := rateLimitReset(h); again != got || againOK != ok {
				t.Fatalf("%q: %v, %v; written anew as %q: %v, %v", field, got, ok, lines, again, againOK)
			}
		}
	})
}
