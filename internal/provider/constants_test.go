// SPDX-License-Identifier: MPL-2.0

package provider

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"strconv"
	"strings"
	"testing"
)

// parseFiles parses the files of a package: its tests, or all others.
func parseFiles(t *testing.T, dir string, tests bool) map[string]*ast.File {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	files := map[string]*ast.File{}
	for _, entry := range entries {
		name := entry.Name()
		if !strings.HasSuffix(name, ".go") || strings.HasSuffix(name, "_test.go") != tests {
			continue
		}
		file, err := parser.ParseFile(token.NewFileSet(), dir+"/"+name, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = file
	}
	return files
}

// callName returns the name of the function or method that is called.
func callName(call *ast.CallExpr) string {
	switch function := call.Fun.(type) {
	case *ast.Ident:
		return function.Name
	case *ast.SelectorExpr:
		return function.Sel.Name
	}
	return ""
}

func isCall(expression ast.Expr) bool {
	_, ok := expression.(*ast.CallExpr)
	return ok
}

// A constantReader reads the constant texts of expressions in a function.
type constantReader struct {
	values map[string]ast.Expr   // of the file's and the function's constants and variables
	ranges map[string][]ast.Expr // of variables that range over a literal
	params map[string]bool
}

func newConstantReader(file *ast.File, function *ast.FuncDecl) constantReader {
	r := constantReader{map[string]ast.Expr{}, map[string][]ast.Expr{}, map[string]bool{}}
	for _, field := range function.Type.Params.List {
		for _, name := range field.Names {
			r.params[name.Name] = true
		}
	}
	for _, declaration := range file.Decls {
		if general, ok := declaration.(*ast.GenDecl); ok {
			ast.Inspect(general, r.read)
		}
	}
	ast.Inspect(function, r.read)
	return r
}

// read takes in what a node says of values.
func (r constantReader) read(node ast.Node) bool {
	switch node := node.(type) {
	case *ast.AssignStmt:
		if name, ok := node.Lhs[0].(*ast.Ident); ok {
			r.values[name.Name] = node.Rhs[0]
		}
	case *ast.ValueSpec:
		if len(node.Values) > 0 {
			r.values[node.Names[0].Name] = node.Values[0]
		}
	case *ast.RangeStmt:
		name, isIdent := node.Value.(*ast.Ident)
		list, isLiteral := node.X.(*ast.CompositeLit)
		if isIdent && isLiteral {
			r.ranges[name.Name] = list.Elts
		}
	}
	return true
}

// fixed returns the constant beginning of an expression, and whether that is all of it.
func (r constantReader) fixed(expression ast.Expr) (text string, whole bool) {
	switch expression := expression.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(expression.Value)
		return text, err == nil
	case *ast.BinaryExpr:
		text, whole = r.fixed(expression.X)
		if whole {
			rest, whole := r.fixed(expression.Y)
			return text + rest, whole
		}
		return text, false
	case *ast.Ident:
		if value := r.values[expression.Name]; value != nil {
			return r.fixed(value)
		}
	}
	return "", false
}

// all returns the texts that an expression stands for: one, or those of the literal that
// a loop ranges over.
func (r constantReader) all(expression ast.Expr) (texts []string) {
	expressions := []ast.Expr{expression}
	if name, ok := expression.(*ast.Ident); ok && r.ranges[name.Name] != nil {
		expressions = r.ranges[name.Name]
	}
	for _, e := range expressions {
		if text, whole := r.fixed(e); whole {
			texts = append(texts, text)
		}
	}
	return texts
}
