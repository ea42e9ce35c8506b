package thole_test

import (
	"errors"
	"fmt"
	"go/ast"
	"go/importer"
	"go/parser"
	"go/token"
	"go/types"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/assert"
	"github.com/stretchr/testify/require"

	"github.com/thole-go/thole"
	"github.com/thole-go/thole/breaker"
	"github.com/thole-go/thole/bulkhead"
	"github.com/thole-go/thole/chaos"
	"github.com/thole-go/thole/hedge"
	"github.com/thole-go/thole/ratelimit"
	"github.com/thole-go/thole/retry"
	"github.com/thole-go/thole/tholehttp"
	"github.com/thole-go/thole/timeout"
)

// Every block of Go in README.md and docs/ compiles. A block is a whole program, or some
// declarations, or some statements, or an expression. Where it is not a program, the packages
// in docImports are imported as it needs them, what docPreamble declares is there, and a
// variable may be left unused.
func TestDocs_everySnippetCompiles(t *testing.T) {
	var all []snippet
	for _, page := range docPages(t) {
		all = append(all, snippetsOf(t, page)...)
	}
	require.NotEmpty(t, all)
	c := newSnippetChecker(t, all)
	_, err := os.Stat("go.work")
	alone := err != nil || os.Getenv("GOWORK") == "off"
	for _, s := range all {
		for _, err := range c.check(s) {
			if alone && strings.Contains(err.Error(), "could not import") {
				t.Logf("not checked, for want of the repository's other modules: %v", err)
				break
			}
			t.Errorf("%v\n(what a page takes for granted is declared in docPreamble or docImports of docs_test.go)", err)
		}
	}
}

// The check above must find what it is there to find.
func TestDocs_brokenSnippetsDoNotCompile(t *testing.T) {
	broken := map[string]string{
		"syntax":            "x := retry.Config{",
		"unknown field":     "retry.Config{Attempts: 3}",
		"wrong type":        "b := breaker.New(breaker.Config{Window: 1.5})",
		"unknown name":      "payments.Do(ctx, nothingOfThatName)",
		"unkeyed literal":   `timeout.Config{"total", time.Second}`,
		"unused import":     "package main\n\nimport \"fmt\"\n\nfunc main() {}",
		"unused in program": "package main\n\nfunc main() { x := 1 }",
		"missing import":    "package main\n\nfunc main() { fmt.Println() }",
	}
	var all []snippet
	for name, code := range broken {
		all = append(all, snippet{page: name, line: 1, code: code})
	}
	c := newSnippetChecker(t, all)
	for _, s := range all {
		assert.NotEmpty(t, c.check(s), s.page)
	}
	fine := snippet{page: "fine", line: 1, code: "err := thole.Chain(retry.New(retry.Config{})).Do(ctx, call)\nreturn err"}
	assert.Empty(t, newSnippetChecker(t, []snippet{fine}).check(fine))
}

// The page of a policy has a row for each setting, so that a new one is not forgotten.
func TestDocs_everySettingIsListed(t *testing.T) {
	pages := map[string][]any{
		"docs/breaker.md":   {breaker.Config{}},
		"docs/retry.md":     {retry.Config{}},
		"docs/bulkhead.md":  {bulkhead.Config{}},
		"docs/ratelimit.md": {ratelimit.TokenBucketConfig{}, ratelimit.SlidingWindowConfig{}},
		"docs/timeout.md":   {timeout.Config{}},
		"docs/hedge.md":     {hedge.Config{}},
		"docs/budget.md":    {thole.BudgetConfig{}},
		"docs/chaos.md":     {chaos.Config{}},
		"docs/keyed.md":     {thole.KeyedConfig{}},
		"docs/http.md":      {tholehttp.TransportConfig{}, tholehttp.HandlerConfig{}},
	}
	for page, configs := range pages {
		text, err := os.ReadFile(page)
		require.NoError(t, err)
		for _, config := range configs {
			for _, field := range reflect.VisibleFields(reflect.TypeOf(config)) {
				if field.IsExported() {
					listed := strings.Contains(string(text), "| `"+field.Name+"`")
					assert.True(t, listed, "%s of %T is not in the table of %s", field.Name, config, page)
				}
			}
		}
	}
}

// docImports are the packages that a fragment may use without an import, by name.
var docImports = map[string]string{
	"assert": "github.com/stretchr/testify/assert", "backoff": "github.com/cenkalti/backoff/v4",
	"codes": "google.golang.org/grpc/codes", "context": "context", "credentials": "google.golang.org/grpc/credentials", "errors": "errors",
	"errgroup": "golang.org/x/sync/errgroup", "expvar": "expvar", "fmt": "fmt", "grpc": "google.golang.org/grpc",
	"http": "net/http", "httptest": "net/http/httptest", "io": "io", "json": "encoding/json", "log": "log",
	"metadata": "google.golang.org/grpc/metadata", "net": "net", "os": "os", "rand": "math/rand/v2",
	"require": "github.com/stretchr/testify/require", "runtime": "runtime", "slog": "log/slog", "sql": "database/sql",
	"status": "google.golang.org/grpc/status", "strings": "strings", "sync": "sync", "synctest": "testing/synctest",
	"testing": "testing", "time": "time", "url": "net/url",

	"thole": module, "breaker": module + "/breaker", "bulkhead": module + "/bulkhead", "chaos": module + "/chaos",
	"hedge": module + "/hedge", "ratelimit": module + "/ratelimit", "retry": module + "/retry",
	"standard": module + "/standard", "tholedebug": module + "/tholedebug", "tholegrpc": module + "/tholegrpc",
	"tholehttp": module + "/tholehttp", "tholeotel": module + "/tholeotel", "tholeprom": module + "/tholeprom",
	"tholeredis": module + "/tholeredis", "tholetest": module + "/tholetest", "timeout": module + "/timeout",
}

// docPreamble is what the pages take for granted: the reader's own program.
const docPreamble = `package snippet

var (
	ctx      context.Context
	t        *testing.T
	err      error
	db       *sql.DB
	order    Order
	req      *http.Request
	app      http.Handler
	rows     []Row
	payments thole.Policy
	policy   thole.Policy
	total    thole.Policy
	retries  thole.Policy
	circuit  thole.Policy
	attempt  thole.Policy
	p        thole.Policy
)

type (
	Order   struct{ ID string }
	Receipt struct{}
	Row     struct{}
	Price   struct{}
	tenant  struct{}
)

func call(context.Context) error                       { return nil }
func work(context.Context) error                       { return nil }
func charge(context.Context, Order) (Receipt, error)   { return Receipt{}, nil }
func search(context.Context, string) ([]Row, error)    { return nil, nil }
func query(context.Context) (Row, error)               { return Row{}, nil }
func price(context.Context) (Price, error)             { return Price{}, nil }
func listPrice() Price                                 { return Price{} }
func isSyntaxError(error) bool                         { return false }
`

func docPages(t *testing.T) []string {
	t.Helper()
	pages, err := filepath.Glob("docs/*.md")
	require.NoError(t, err)
	return append(pages, "README.md")
}

// snippet is one block of Go in a page.
type snippet struct {
	page string
	line int // of its first line
	code string
}

var fence = regexp.MustCompile("^( *)```(\\w*)")

// snippetsOf returns the blocks fenced as Go. A block that is indented instead, as shell
// commands are, must not be Go, for it would not be compiled.
func snippetsOf(t *testing.T, page string) (all []snippet) {
	t.Helper()
	text, err := os.ReadFile(page)
	require.NoError(t, err)
	var fenced, goes bool
	var indent string
	block := snippet{page: page}
	add := func(number int, line string) {
		if block.line == 0 {
			block.line = number
		}
		block.code += line + "\n"
	}
	endIndented := func() {
		_, err := block.form()
		assert.False(t, err == nil && strings.ContainsAny(block.code, "({"), "%s:%d: Go is indented: fence it with ```go", page, block.line)
		block = snippet{page: page}
	}
	for i, line := range strings.Split(string(text)+"\nend", "\n") {
		m := fence.FindStringSubmatch(line)
		switch {
		case m != nil && !fenced:
			endIndented()
			fenced, goes, indent = true, m[2] == "go", m[1]
		case m != nil:
			fenced = false
			if goes {
				all = append(all, block)
			}
			block = snippet{page: page}
		case fenced:
			add(i+1, strings.TrimPrefix(line, indent))
		case strings.HasPrefix(line, "    ") && !strings.HasPrefix(strings.TrimSpace(line), "- "):
			add(i+1, line)
		case strings.TrimSpace(line) != "":
			endIndented()
		}
	}
	assert.False(t, fenced, "%s: a fence is not closed", page)
	return all
}

// form is how a snippet becomes a file.
type form struct {
	snippet
	program     bool
	open, close string
}

func (f form) source(imports, decls []string) string {
	if f.program {
		return fmt.Sprintf("//line %s:%d\n%s", f.page, f.line, f.code)
	}
	head := "package snippet\n"
	for _, path := range imports {
		head += fmt.Sprintf("import %q\n", path)
	}
	return head + strings.Join(decls, "\n") + fmt.Sprintf("\n%s\n//line %s:%d\n%s\n%s", f.open, f.page, f.line, f.code, f.close)
}

// form finds out what the snippet is. The error is that of the likeliest.
func (s snippet) form() (form, error) {
	if regexp.MustCompile(`(?m)\A(//.*\n|\s*\n)*package `).MatchString(s.code) {
		f := form{snippet: s, program: true}
		_, err := f.parse()
		return f, err
	}
	if e, err := parser.ParseExpr(s.code); err == nil {
		if _, call := e.(*ast.CallExpr); !call {
			return form{snippet: s, open: "var _ ="}, nil
		}
	}
	f := form{snippet: s}
	if _, err := f.parse(); err == nil && strings.TrimSpace(s.code) != "" {
		return f, nil
	}
	f.open, f.close = "func _() {", "}"
	file, err := f.parse()
	if err != nil {
		return f, err
	}
	// Statements may return: any number of values of any types.
	ast.Inspect(file, func(n ast.Node) bool {
		if r, ok := n.(*ast.ReturnStmt); ok && len(r.Results) > 0 {
			f.open = "func _() (" + strings.Repeat("any,", len(r.Results)) + ") {"
			f.close = "\npanic(0) }"
		}
		_, literal := n.(*ast.FuncLit)
		return !literal
	})
	return f, nil
}

func (f form) parse() (*ast.File, error) {
	return parser.ParseFile(token.NewFileSet(), "", f.source(nil, nil), parser.SkipObjectResolution)
}

// snippetChecker checks types against the packages' export data: as exact as the compiler,
// and one run of the go command does for all snippets.
type snippetChecker struct {
	fset     *token.FileSet
	importer types.Importer
	preamble map[string]string // source of each declaration, by name
}

func newSnippetChecker(t *testing.T, all []snippet) *snippetChecker {
	t.Helper()
	exports := exportData(t, importsOf(all))
	c := &snippetChecker{fset: token.NewFileSet(), preamble: map[string]string{}}
	c.importer = importer.ForCompiler(c.fset, "gc", func(path string) (io.ReadCloser, error) {
		if exports[path] == "" {
			return nil, fmt.Errorf("no package %s, or it does not compile", path)
		}
		return os.Open(exports[path])
	})
	file, err := parser.ParseFile(c.fset, "preamble", docPreamble, parser.SkipObjectResolution)
	require.NoError(t, err)
	for _, d := range file.Decls {
		text := func(n ast.Node) string {
			return docPreamble[c.fset.Position(n.Pos()).Offset:c.fset.Position(n.End()).Offset]
		}
		switch d := d.(type) {
		case *ast.FuncDecl:
			c.preamble[d.Name.Name] = text(d)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				switch spec := spec.(type) {
				case *ast.ValueSpec:
					c.preamble[spec.Names[0].Name] = "var " + text(spec)
				case *ast.TypeSpec:
					c.preamble[spec.Name.Name] = "type " + text(spec)
				}
			}
		}
	}
	return c
}

// importsOf returns the packages which the snippets, and the preamble, may import.
func importsOf(all []snippet) []string {
	var paths []string
	text := docPreamble
	for _, s := range all {
		text += s.code
	}
	for _, m := range regexp.MustCompile(`\b([a-z]\w*)\.[A-Z]`).FindAllStringSubmatch(text, -1) {
		if path := docImports[m[1]]; path != "" {
			paths = append(paths, path)
		}
	}
	for _, s := range all {
		if file, err := parser.ParseFile(token.NewFileSet(), "", s.code, parser.ImportsOnly); err == nil {
			for _, i := range file.Imports {
				paths = append(paths, strings.Trim(i.Path.Value, `"`))
			}
		}
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// exportData returns the files of compiled packages. Those of the repository's other modules
// are found through go.work.
func exportData(t *testing.T, paths []string) map[string]string {
	t.Helper()
	cmd := exec.Command("go", append([]string{"list", "-e", "-export", "-f", "{{.ImportPath}}\t{{.Export}}"}, paths...)...)
	out, err := cmd.Output()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		require.NoError(t, err, string(exit.Stderr))
	}
	require.NoError(t, err)
	exports := map[string]string{}
	for line := range strings.Lines(string(out)) {
		path, file, _ := strings.Cut(strings.TrimSpace(line), "\t")
		exports[path] = file
	}
	return exports
}

// check returns what the compiler would find wrong.
func (c *snippetChecker) check(s snippet) []error {
	f, err := s.form()
	if err != nil {
		return []error{err}
	}
	var imports, decls []string
	for {
		errs := c.types(f, imports, decls)
		if f.program {
			return errs
		}
		known := len(imports) + len(decls)
		for _, err := range errs {
			var e types.Error
			if !errors.As(err, &e) {
				continue
			}
			name, undefined := strings.CutPrefix(e.Msg, "undefined: ")
			if decl := c.preamble[name]; undefined && decl != "" && !slices.Contains(decls, decl) {
				decls = append(decls, decl)
			} else if path := docImports[name]; undefined && path != "" && !slices.Contains(imports, path) {
				imports = append(imports, path)
			}
		}
		if len(imports)+len(decls) == known {
			return errs
		}
	}
}

func (c *snippetChecker) types(f form, imports, decls []string) (errs []error) {
	file, err := parser.ParseFile(c.fset, "snippet", f.source(imports, decls), parser.SkipObjectResolution)
	if err != nil {
		return []error{err}
	}
	cfg := types.Config{Importer: c.importer, Error: func(err error) {
		var e types.Error
		if !f.program && errors.As(err, &e) && strings.HasPrefix(e.Msg, "declared and not used") {
			return
		}
		errs = append(errs, err)
	}}
	_, _ = cfg.Check("snippet", c.fset, []*ast.File{file}, nil) // the same errors
	return errs
}
