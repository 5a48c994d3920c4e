package archtest

import (
	"go/ast"
	"go/parser"
	"go/token"
	"maps"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
)

// TestProblemsHaveCodes: each sentence with which the centre refuses a request, or a message, has a code that is found by its words, so
// that the console can say it in its language.
func TestProblemsHaveCodes(t *testing.T) {
	n := 0
	check := func(at, text string, recognise func(string) []api.Said) {
		t.Helper()
		n++
		said := recognise(text)
		if said == nil {
			t.Errorf("%s: %q has no code: put its sentence into internal/api/problems.go and web/console/src/lang/problems.ts", at, text)
		}
		for _, s := range said {
			if s.Code == "letter.text" {
				t.Errorf("%s: %q of %q has no code", at, s.Params["text"], text)
			} else if words := s.String(); !strings.Contains(text, words) {
				t.Errorf("%s: %q is taken for %s, %q", at, text, s.Code, words)
			}
		}
	}
	for _, dir := range []string{"../api", "../bus", "../connector", "../eeb", "../export", "../mdms", "../web"} {
		for at, text := range refusals(t, dir) {
			check(at, text, api.Recognise)
		}
	}
	for _, dir := range []string{"../topic/topic.go", "../eeb/take.go", "../eeb/translate.go", "../eeb/table.go", "../seal/window.go", "../seal/seal.go", "../record/record.go", "../format/error.go"} {
		for at, text := range errorsOf(t, dir) {
			check(at, text, api.RecogniseLetter)
		}
	}
	if n < 300 {
		t.Errorf("only %d sentences were found", n)
	}
}

// TestProblemsInJapanese: the console has each of these sentences, with no place that the English has not.
func TestProblemsInJapanese(t *testing.T) {
	source, err := os.ReadFile("../../web/console/src/lang/problems.ts")
	if err != nil {
		t.Fatal(err)
	}
	japanese := map[string]string{}
	for _, m := range regexp.MustCompile(`(?m)^  '([a-z0-9.-]+)': (?:'(.*)'|"(.*)"),$`).FindAllStringSubmatch(string(source), -1) {
		japanese[m[1]] = m[2] + m[3]
	}
	places := func(text string) []string { return regexp.MustCompile(`\{\w+\}`).FindAllString(text, -1) }
	for code, text := range api.Sentences() {
		if !refused(code) {
			continue
		}
		if japanese[code] == "" {
			t.Errorf("%s, %q, is not there in Japanese", code, text)
		}
		for _, p := range places(japanese[code]) {
			if !slices.Contains(places(text), p) {
				t.Errorf("%s: the Japanese has the place %s, the English %q not", code, p, text)
			}
		}
		delete(japanese, code)
	}
	for _, code := range slices.Sorted(maps.Keys(japanese)) {
		t.Errorf("%s: only the console says it", code)
	}
}

// refused reports whether a code is of internal/api/problems.go.
func refused(code string) bool {
	return strings.HasPrefix(code, "problem.") || strings.HasPrefix(code, "letter.")
}

// refusals are the details of problems in the sources of a folder, by where they stand, with something in their places.
func refusals(t *testing.T, dir string) map[string]string {
	return found(t, dir, func(n ast.Node) ast.Expr {
		switch n := n.(type) {
		case *ast.CallExpr:
			of, name := called(n)
			switch {
			case of == "api" || of == "":
				switch name {
				case "BadRequest", "problem":
					return arg(n, 1)
				case "Conflict", "Outdated", "NotFound":
					return arg(n, 0)
				}
			case name == "Unknown" || name == "Invalid":
				return arg(n, 1)
			}
		case *ast.CompositeLit:
			name := ""
			switch x := n.Type.(type) {
			case *ast.SelectorExpr:
				name = x.Sel.Name
			case *ast.Ident:
				name = x.Name
			}
			if name != "Problem" && name != "FieldError" {
				return nil
			}
			for _, e := range n.Elts {
				if kv, ok := e.(*ast.KeyValueExpr); ok {
					if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Detail" {
						return kv.Value
					}
				}
			}
		}
		return nil
	})
}

// errorsOf are the errors that are made in the sources of a folder or a file.
func errorsOf(t *testing.T, dir string) map[string]string {
	return found(t, dir, func(n ast.Node) ast.Expr {
		call, ok := n.(*ast.CallExpr)
		if !ok {
			return nil
		}
		switch of, name := called(call); of + "." + name {
		case "fmt.Errorf", "errors.New":
			return arg(call, 0)
		}
		return nil
	})
}

func called(n *ast.CallExpr) (of, name string) {
	switch f := n.Fun.(type) {
	case *ast.SelectorExpr:
		if x, ok := f.X.(*ast.Ident); ok {
			of = x.Name
		}
		return of, f.Sel.Name
	case *ast.Ident:
		return "", f.Name
	}
	return "", ""
}

func arg(n *ast.CallExpr, i int) ast.Expr {
	if len(n.Args) > i {
		return n.Args[i]
	}
	return nil
}

// found are the texts of what pick picks. What holds no words of its own is passed over: it says what another sentence does.
func found(t *testing.T, dir string, pick func(ast.Node) ast.Expr) map[string]string {
	t.Helper()
	out := map[string]string{}
	files := token.NewFileSet()
	for path, source := range goSources(t, dir) {
		f, err := parser.ParseFile(files, path, source, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(f, func(n ast.Node) bool {
			if n == nil {
				return true
			}
			if e := pick(n); e != nil {
				text := sample(e)
				if own := strings.Trim(strings.NewReplacer("7", "", `"x"`, "", "abc", "").Replace(text), " :;"); own != "" && !passedOn(text) {
					out[files.Position(e.Pos()).String()] = text
				}
			}
			return true
		})
	}
	return out
}

// passedOn reports whether a text is the program's own trouble: no request and no message is refused with it.
func passedOn(text string) bool {
	return strings.HasPrefix(text, "eeb: ") || strings.HasPrefix(text, "windows of ") || strings.HasPrefix(text, "counters of ")
}

// sample is an expression of a text with something in the places of its format.
func sample(e ast.Expr) string {
	switch e := e.(type) {
	case *ast.BasicLit:
		text, err := strconv.Unquote(e.Value)
		if err != nil {
			return ""
		}
		return verbs.ReplaceAllStringFunc(text, func(verb string) string {
			switch verb[len(verb)-1] {
			case 'd', 'g', 'x':
				return "7"
			case 'q':
				return `"x"`
			case '%':
				return "%"
			}
			return "abc"
		})
	case *ast.BinaryExpr:
		return sample(e.X) + sample(e.Y)
	case *ast.CallExpr:
		if _, name := called(e); name == "Sprintf" {
			return sample(e.Args[0])
		}
	}
	return "abc"
}

var verbs = regexp.MustCompile(`%[-+# 0]*[0-9]*(?:\.[0-9]+)?[a-zA-Z%]`)
