package main

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
)

// mutant is one small change of one file: the bytes from begin to end become text.
type mutant struct {
	file       string
	source     []byte
	begin, end int
	text       string
	kind       string
}

func (m mutant) apply() []byte {
	out := append([]byte{}, m.source[:m.begin]...)
	out = append(out, m.text...)
	return append(out, m.source[m.end:]...)
}

func (m mutant) lineNumber() int { return strings.Count(string(m.source[:m.begin]), "\n") + 1 }

// line returns the line of the change, before or after it.
func (m mutant) line(after bool) string {
	source := m.source
	if after {
		source = m.apply()
	}
	rest := string(source[strings.LastIndexByte(string(source[:m.begin]), '\n')+1:])
	line, _, _ := strings.Cut(rest, "\n")
	return strings.Join(strings.Fields(line), " ")
}

func (m mutant) where(dir string) string {
	name, err := filepath.Rel(dir, m.file)
	if err != nil {
		name = m.file
	}
	return fmt.Sprintf("%s:%d", name, m.lineNumber())
}

func (m mutant) String() string {
	return fmt.Sprintf("%s: %s  =>  %s", m.kind, m.line(false), m.line(true))
}

// mutantsOf lists all mutants of a package's files, without the tests.
func mutantsOf(dir string) ([]mutant, error) {
	files, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil {
		return nil, err
	}
	var all []mutant
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		source, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		of, err := mutantsIn(file, source)
		if err != nil {
			return nil, err
		}
		all = append(all, of...)
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing to change in %s", dir)
	}
	return all, nil
}

// finder collects the mutants of one file.
type finder struct {
	fset   *token.FileSet
	file   string
	source []byte
	clause map[ast.Stmt]bool // statements that are part of another's head, and cannot be left out
	found  []mutant
}

func mutantsIn(file string, source []byte) ([]mutant, error) {
	f := &finder{fset: token.NewFileSet(), file: file, source: source, clause: map[ast.Stmt]bool{}}
	tree, err := parser.ParseFile(f.fset, file, source, parser.SkipObjectResolution)
	if err != nil {
		return nil, err
	}
	for _, d := range tree.Decls {
		if g, ok := d.(*ast.GenDecl); ok && g.Tok == token.IMPORT {
			continue
		}
		ast.Inspect(d, f.visit)
	}
	return f.found, nil
}

func (f *finder) at(p token.Pos) int { return f.fset.Position(p).Offset }

func (f *finder) add(kind string, begin, end token.Pos, text string) {
	f.found = append(f.found, mutant{f.file, f.source, f.at(begin), f.at(end), text, kind})
}

func (f *finder) text(n ast.Node) string { return string(f.source[f.at(n.Pos()):f.at(n.End())]) }

// operators says what an operator becomes: comparisons are shifted by one, or turned about.
var operators = map[token.Token][]token.Token{
	token.LSS: {token.LEQ, token.GEQ}, token.LEQ: {token.LSS, token.GTR},
	token.GTR: {token.GEQ, token.LEQ}, token.GEQ: {token.GTR, token.LSS},
	token.EQL: {token.NEQ}, token.NEQ: {token.EQL},
	token.LAND: {token.LOR}, token.LOR: {token.LAND},
	token.ADD: {token.SUB}, token.SUB: {token.ADD}, token.MUL: {token.QUO}, token.QUO: {token.MUL},
	token.AND: {token.OR}, token.OR: {token.AND}, token.SHL: {token.SHR}, token.SHR: {token.SHL},
	token.ADD_ASSIGN: {token.SUB_ASSIGN}, token.SUB_ASSIGN: {token.ADD_ASSIGN},
	token.OR_ASSIGN: {token.AND_ASSIGN}, token.AND_ASSIGN: {token.OR_ASSIGN},
	token.INC: {token.DEC}, token.DEC: {token.INC},
}

func (f *finder) operator(op token.Token, pos token.Pos) {
	for _, to := range operators[op] {
		f.add("operator", pos, pos+token.Pos(len(op.String())), to.String())
	}
}

func (f *finder) visit(n ast.Node) bool {
	switch n := n.(type) {
	case *ast.ArrayType: // a length is a matter of layout
		return false
	case *ast.Field: // so is a tag
		return n.Tag == nil
	case *ast.BinaryExpr:
		f.operator(n.Op, n.OpPos)
	case *ast.UnaryExpr:
		if n.Op == token.NOT {
			f.add("negation dropped", n.OpPos, n.OpPos+1, "")
		}
	case *ast.IfStmt:
		f.clause[n.Init] = true
		f.negate(n.Cond)
	case *ast.ForStmt:
		f.clause[n.Init], f.clause[n.Post] = true, true
	case *ast.SwitchStmt:
		f.clause[n.Init] = true
	case *ast.CaseClause:
		for _, e := range n.List {
			if boolean(e) {
				f.negate(e)
			}
		}
	case *ast.BasicLit:
		f.literal(n)
	case *ast.Ident:
		f.ident(n)
	case *ast.BranchStmt:
		f.branch(n)
	case *ast.AssignStmt:
		f.operator(n.Tok, n.TokPos)
		if n.Tok != token.DEFINE {
			f.drop(n)
		}
	case *ast.IncDecStmt:
		f.operator(n.Tok, n.TokPos)
		f.drop(n)
	case *ast.ExprStmt:
		f.drop(n)
	case *ast.DeferStmt:
		f.drop(n)
	}
	return true
}

// boolean reports whether e, a case of a switch, is a condition by its looks.
func boolean(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BinaryExpr:
		switch e.Op {
		case token.LSS, token.LEQ, token.GTR, token.GEQ, token.EQL, token.NEQ, token.LAND, token.LOR:
			return true
		}
	case *ast.UnaryExpr:
		return e.Op == token.NOT
	}
	return false
}

func (f *finder) negate(cond ast.Expr) {
	f.add("condition negated", cond.Pos(), cond.End(), "!("+f.text(cond)+")")
}

// drop leaves an empty statement in the place of n.
func (f *finder) drop(n ast.Stmt) {
	if f.clause[n] {
		return
	}
	lines := strings.Count(f.text(n), "\n")
	f.add("statement dropped", n.Pos(), n.End(), "{}"+strings.Repeat("\n", lines))
}

func (f *finder) literal(n *ast.BasicLit) {
	if n.Kind != token.INT {
		return
	}
	v, err := strconv.ParseInt(n.Value, 0, 64)
	if err != nil {
		return
	}
	f.add("off by one", n.Pos(), n.End(), strconv.FormatInt(v+1, 10))
	if v > 0 {
		f.add("off by one", n.Pos(), n.End(), strconv.FormatInt(v-1, 10))
	}
}

func (f *finder) ident(n *ast.Ident) {
	if to, ok := map[string]string{"true": "false", "false": "true", "min": "max", "max": "min"}[n.Name]; ok {
		f.add("swapped", n.Pos(), n.End(), to)
	}
}

func (f *finder) branch(n *ast.BranchStmt) {
	if n.Label != nil {
		return
	}
	switch n.Tok {
	case token.BREAK:
		f.add("branch", n.Pos(), n.End(), "continue")
	case token.CONTINUE:
		f.add("branch", n.Pos(), n.End(), "break")
	}
}
