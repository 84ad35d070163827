package rules_test

import (
	"fmt"
	"go/ast"
	"go/parser"
	"go/token"
	"go/types"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// exceptions are package-level variables that are allowed to change, with the
// reason. There should be none; each one here was argued about.
func exceptions() map[string]string {
	return map[string]string{
		"cloud/local.mainCalled": "whether Main was called is a fact about the process, which no value could carry from main to the driver",
	}
}

// TestNoInit checks that importing a package does nothing: no init functions,
// and no package-level variables but those that never change.
func TestNoInit(t *testing.T) {
	excepted := exceptions()
	for _, p := range list(t, "./...") {
		files := map[string]*ast.File{}
		set := token.NewFileSet()
		for _, name := range p.GoFiles {
			f, err := parser.ParseFile(set, filepath.Join(p.Dir, name), nil, parser.ParseComments)
			require.NoError(t, err)
			files[name] = f
		}
		for _, v := range violations(set, files) {
			if _, ok := excepted[p.short()+"."+v.name]; ok {
				delete(excepted, p.short()+"."+v.name)
				continue
			}
			t.Errorf("%s: %s: %s", p.short(), v.name, v.why)
		}
	}
	require.Empty(t, slices.Sorted(maps.Keys(excepted)), "exceptions that nobody needs: remove them")
}

type violation struct{ name, why string }

// violations returns what a package's files do at import, or may change later.
func violations(set *token.FileSet, files map[string]*ast.File) []violation {
	var found []violation
	changed := changedNames(set, files)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		for _, d := range files[name].Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Recv == nil && d.Name.Name == "init" {
					found = append(found, violation{"init", "no init functions: let the caller call what is needed"})
				}
			case *ast.GenDecl:
				if d.Tok == token.VAR {
					found = append(found, badVars(d, changed)...)
				}
			}
		}
	}
	return found
}

func badVars(d *ast.GenDecl, changed map[string]bool) []violation {
	var found []violation
	for _, s := range d.Specs {
		spec := s.(*ast.ValueSpec)
		for i, name := range spec.Names {
			why := ""
			switch {
			case name.Name == "_": // a guard: does the type have the methods?
			case embedded(d.Doc) || embedded(spec.Doc):
			case changed[name.Name]:
				why = "a package-level variable that is changed: pass a value instead"
			case len(spec.Values) != len(spec.Names) || !constant(spec.Values[i]):
				why = "a package-level variable that is no error, pattern or table: pass a value instead"
			}
			if why != "" {
				found = append(found, violation{name.Name, why})
			}
		}
	}
	return found
}

func embedded(doc *ast.CommentGroup) bool {
	return doc != nil && slices.ContainsFunc(doc.List, func(c *ast.Comment) bool { return strings.HasPrefix(c.Text, "//go:embed ") })
}

// constant reports whether an expression makes what is like a constant, but
// cannot be one in Go: errors, patterns, tables, numbers made of others.
func constant(e ast.Expr) bool {
	switch e := e.(type) {
	case *ast.BasicLit, *ast.Ident, *ast.SelectorExpr, *ast.FuncLit:
		return true
	case *ast.CompositeLit:
		return true
	case *ast.UnaryExpr:
		return constant(e.X)
	case *ast.BinaryExpr:
		return constant(e.X) && constant(e.Y)
	case *ast.CallExpr:
		if _, conversion := e.Fun.(*ast.ArrayType); conversion {
			return true // []byte("...")
		}
		return slices.Contains([]string{
			"errors.New", "fmt.Errorf", "regexp.MustCompile", "strings.NewReplacer", "template.Must",
			"base32.NewEncoding", "base64.NewEncoding", "x.WithPadding",
			"netip.MustParseAddr", "netip.MustParsePrefix", "crc32.MakeTable", "big.NewInt", "math.Inf", "time.Unix", "time.Date", "reflect.TypeFor",
		}, callee(e.Fun))
	}
	return false
}

func callee(f ast.Expr) string {
	switch f := f.(type) {
	case *ast.SelectorExpr:
		switch x := f.X.(type) {
		case *ast.Ident:
			return x.Name + "." + f.Sel.Name
		case *ast.CallExpr: // a method of what a constant call returns
			if constant(x) {
				return "x." + f.Sel.Name
			}
		}
	case *ast.IndexExpr:
		return callee(f.X)
	}
	return ""
}

// changedNames are the package-level variables that some statement assigns to,
// also in part, deletes from, or takes the address of.
func changedNames(set *token.FileSet, files map[string]*ast.File) map[string]bool {
	info := &types.Info{Defs: map[*ast.Ident]types.Object{}, Uses: map[*ast.Ident]types.Object{}}
	// What is imported does not matter for whose a name is: errors are ignored.
	conf := types.Config{Importer: noImports{}, Error: func(error) {}}
	pkg, _ := conf.Check("p", set, slices.Collect(maps.Values(files)), info)
	changed := map[string]bool{}
	note := func(e ast.Expr) {
		if id := base(e); id != nil && info.ObjectOf(id) != nil && info.ObjectOf(id).Parent() == pkg.Scope() {
			changed[id.Name] = true
		}
	}
	for _, f := range files {
		ast.Inspect(f, func(n ast.Node) bool {
			for _, e := range changedBy(n) {
				note(e)
			}
			return true
		})
	}
	return changed
}

// noImports resolves no import.
type noImports struct{}

func (noImports) Import(path string) (*types.Package, error) {
	return nil, fmt.Errorf("%s is not looked at", path)
}

// changedBy are the expressions that a node changes, or lets others change.
func changedBy(n ast.Node) []ast.Expr {
	switch n := n.(type) {
	case *ast.AssignStmt:
		if n.Tok != token.DEFINE {
			return n.Lhs
		}
	case *ast.IncDecStmt:
		return []ast.Expr{n.X}
	case *ast.UnaryExpr:
		if n.Op == token.AND {
			return []ast.Expr{n.X}
		}
	case *ast.CallExpr:
		if id, ok := n.Fun.(*ast.Ident); ok && (id.Name == "delete" || id.Name == "clear") && len(n.Args) > 0 {
			return n.Args[:1]
		}
	}
	return nil
}

// base is the variable that an expression is a part of.
func base(e ast.Expr) *ast.Ident {
	switch e := e.(type) {
	case *ast.Ident:
		return e
	case *ast.IndexExpr:
		return base(e.X)
	case *ast.SelectorExpr:
		return base(e.X)
	case *ast.StarExpr:
		return base(e.X)
	case *ast.ParenExpr:
		return base(e.X)
	}
	return nil
}

// TestViolations checks that the rule sees what it is there for.
func TestViolations(t *testing.T) {
	for _, c := range []struct{ name, text, want string }{
		{"init", "func init() {}", "init"},
		{"a method named init", "type t struct{}\nfunc (t) init() {}", ""},
		{"error", `var errA = errors.New("a")`, ""},
		{"pattern", "var p = regexp.MustCompile(`a`)", ""},
		{"guard", "var _ error = (*t)(nil)", ""},
		{"embedded", "//go:embed x\nvar x []byte", ""},
		{"table", `var names = map[string]int{"a": 1}`, ""},
		{"table that grows", "var names = map[string]int{}\nfunc f() { names[\"a\"] = 1 }", "names"},
		{"table that shrinks", "var names = map[string]int{}\nfunc f() { delete(names, \"a\") }", "names"},
		{"field that changes", "var c = config{}\nfunc f() { c.a = 1 }", "c"},
		{"address taken", "var c = config{}\nfunc f() { g(&c) }", "c"},
		{"counter", "var n = 1\nfunc f() { n++ }", "n"},
		{"a local of the same name", "var names = []string{\"a\"}\nfunc f() { names := 1; names = 2; _ = names }", ""},
		{"encoding", `var e = base32.NewEncoding("ab").WithPadding(base32.NoPadding)`, ""},
		{"method of work", `var e = load().WithPadding(1)`, "e"},
		{"nothing yet", "var n int", "n"},
		{"lock", "var mu sync.Mutex", "mu"},
		{"work at import", "var x = load()", "x"},
	} {
		t.Run(c.name, func(t *testing.T) {
			set := token.NewFileSet()
			f, err := parser.ParseFile(set, "x.go", "package x\n"+c.text, parser.ParseComments)
			require.NoError(t, err)
			got := ""
			for _, v := range violations(set, map[string]*ast.File{"x.go": f}) {
				got += fmt.Sprint(v.name)
			}
			require.Equal(t, c.want, got)
		})
	}
}
