package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
)

// TestSDKNamesNoInternalType: what a program of somebody else can see of package device has types that it can name.
func TestSDKNamesNoInternalType(t *testing.T) {
	for _, file := range sources(t, "../../device") {
		f, err := parser.ParseFile(token.NewFileSet(), file, nil, parser.SkipObjectResolution)
		if err != nil {
			t.Fatal(err)
		}
		internal := map[string]bool{}
		for _, imp := range f.Imports {
			if path, _ := strconv.Unquote(imp.Path.Value); strings.HasPrefix(path, module+"internal/") {
				name := filepath.Base(path)
				if imp.Name != nil {
					name = imp.Name.Name
				}
				internal[name] = true
			}
		}
		for _, d := range f.Decls {
			switch d := d.(type) {
			case *ast.FuncDecl:
				if d.Name.IsExported() {
					look(t, file, d.Name.Name, d.Type, internal)
				}
			case *ast.GenDecl:
				for _, s := range d.Specs {
					switch s := s.(type) {
					case *ast.TypeSpec:
						if s.Name.IsExported() {
							look(t, file, s.Name.Name, s.Type, internal)
						}
					case *ast.ValueSpec:
						if s.Names[0].IsExported() && s.Type != nil {
							look(t, file, s.Names[0].Name, s.Type, internal)
						}
					}
				}
			}
		}
	}
}

// look finds internal packages in a type, but in fields of structs that are not exported.
func look(t *testing.T, file, name string, n ast.Node, internal map[string]bool) {
	t.Helper()
	ast.Inspect(n, func(n ast.Node) bool {
		switch n := n.(type) {
		case *ast.StructType:
			for _, f := range n.Fields.List {
				if len(f.Names) == 0 || f.Names[0].IsExported() {
					look(t, file, name, f.Type, internal)
				}
			}
			return false
		case *ast.SelectorExpr:
			if x, ok := n.X.(*ast.Ident); ok && internal[x.Name] {
				t.Errorf("%s: %s tells of %s.%s, which nobody outside can name", file, name, x.Name, n.Sel.Name)
			}
		}
		return true
	})
}

func sources(t *testing.T, dir string) (files []string) {
	t.Helper()
	all, err := filepath.Glob(filepath.Join(dir, "*.go"))
	if err != nil || len(all) == 0 {
		t.Fatal(err, dir)
	}
	for _, f := range all {
		if !strings.HasSuffix(f, "_test.go") {
			files = append(files, f)
		}
	}
	return files
}

// TestClientOfMQTTSNIsShort: makers of meters port it, so it has to stay readable in one sitting (docs/device.md, 5).
func TestClientOfMQTTSNIsShort(t *testing.T) {
	lines := 0
	for _, f := range sources(t, "../snclient") {
		b, err := os.ReadFile(f)
		if err != nil {
			t.Fatal(err)
		}
		lines += strings.Count(string(b), "\n")
	}
	if lines > 2000 {
		t.Errorf("internal/snclient has %d lines, want at most 2000", lines)
	}
}
