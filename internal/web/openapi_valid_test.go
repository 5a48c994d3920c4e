package web

import (
	"bytes"
	"fmt"
	"io"
	"mime"
	"net/http"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// validator holds answers against the OpenAPI document, whose schemas are JSON Schema 2020-12.
type validator struct {
	t        *testing.T
	doc      openapi
	compiler *jsonschema.Compiler
	checked  map[string]bool // operations of which a body was checked
}

func newValidator(t *testing.T, doc openapi, text []byte) *validator {
	t.Helper()
	all, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	c := jsonschema.NewCompiler()
	c.AssertFormat()
	if err := c.AddResource("openapi.json", all); err != nil {
		t.Fatal(err)
	}
	v := &validator{t: t, doc: doc, compiler: c, checked: map[string]bool{}}
	for name := range doc.Components.Schemas {
		if _, err := c.Compile("openapi.json#/components/schemas/" + name); err != nil {
			t.Errorf("schema %s: %v", name, err)
		}
	}
	return v
}

var pointer = strings.NewReplacer("~", "~0", "/", "~1", "%", "%25", "{", "%7B", "}", "%7D")

// check reports what an answer has that the document does not promise.
func (v *validator) check(method, path string, resp *http.Response, body []byte) {
	v.t.Helper()
	op := v.doc.Paths[path][strings.ToLower(method)]
	status := fmt.Sprint(resp.StatusCode)
	answer, ok := op.Responses[status]
	if !ok {
		status, answer = "default", op.Responses["default"]
		if resp.StatusCode < 400 {
			v.t.Errorf("%s %s: status %d is not documented", method, path, resp.StatusCode)
			return
		}
	}
	content := answer.Content
	if len(body) == 0 && len(content) == 0 {
		return
	}
	kind, _, err := mime.ParseMediaType(resp.Header.Get("Content-Type"))
	known := false
	for documented := range content {
		k, _, err := mime.ParseMediaType(documented)
		known = known || err == nil && k == kind
	}
	if err != nil || !known {
		v.t.Errorf("%s %s: status %d with the type %q, want one of %v", method, path, resp.StatusCode, kind, content)
		return
	}
	for name := range answer.Headers {
		if name == "ETag" && resp.Header.Get(name) == "" {
			v.t.Errorf("%s %s: no %s", method, path, name)
		}
	}
	if !strings.HasSuffix(kind, "json") {
		return
	}
	schema, err := v.compiler.Compile(fmt.Sprintf("openapi.json#/paths/%s/%s/responses/%s/content/%s/schema", pointer.Replace(path), strings.ToLower(method), status, pointer.Replace(kind)))
	if err != nil {
		v.t.Fatalf("%s %s: %v", method, path, err)
	}
	value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
	if err == nil {
		err = schema.Validate(value)
	}
	if err != nil {
		v.t.Errorf("%s %s: status %d is not as documented: %v\n%.600s", method, path, resp.StatusCode, err, body)
	}
	if resp.StatusCode < 300 {
		v.checked[op.OperationID] = true
	}
}

// Every refusal is a problem document, whoever refuses: the mux, the limits, the decoder, the validation, the one who answers.
func TestEveryRefusalIsAProblem(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	doc, text := readOpenAPI(t, s)
	v := newValidator(t, doc, text)
	problemOf := func(name string, status int, resp *http.Response, body []byte) {
		t.Helper()
		if resp.StatusCode != status || resp.Header.Get("Content-Type") != problemType {
			t.Errorf("%s: status %d, %q: %.200s; want %d", name, resp.StatusCode, resp.Header.Get("Content-Type"), body, status)
			return
		}
		schema, err := v.compiler.Compile("openapi.json#/components/schemas/Problem")
		if err != nil {
			t.Fatal(err)
		}
		value, err := jsonschema.UnmarshalJSON(bytes.NewReader(body))
		if err == nil {
			err = schema.Validate(value)
		}
		if err != nil {
			t.Errorf("%s: %v: %.200s", name, err, body)
		}
	}
	const ping = `{"target":{"meter":"M1"},"type":"ping"}`
	deep := strings.Repeat(`{"target":`, 20000) + "1" + strings.Repeat("}", 20000)
	for _, tc := range []struct {
		name, method, path, body string
		status                   int
		headers                  []string
	}{
		{"no such call", "GET", "/v1/nothing", "", 404, nil},
		{"no such meter", "GET", "/v1/meters/M99", "", 404, nil},
		{"wrong method", "PATCH", "/v1/meters", "", 405, nil},
		{"wrong method of a command", "PUT", "/v1/commands", ping, 405, nil},
		{"a stream's head", "HEAD", "/v1/events", "", 405, nil},
		{"body too large", "POST", "/v1/commands", `{"target":{"meter":"` + strings.Repeat("x", maxBody+1) + `"}}`, 413, nil},
		{"unknown media type", "POST", "/v1/commands", "target: M1", 415, []string{"Content-Type", "application/yaml"}},
		{"a form", "POST", "/v1/commands", "target=M1", 415, []string{"Content-Type", "application/x-www-form-urlencoded"}},
		{"unclosed JSON", "POST", "/v1/commands", `{"target":`, 400, nil},
		{"no JSON", "POST", "/v1/commands", "\x00\xff", 400, nil},
		{"no body", "POST", "/v1/commands", "", 400, nil},
		{"null", "POST", "/v1/commands", "null", 400, nil},
		{"two values", "POST", "/v1/commands", ping + ping, 400, nil},
		{"deep JSON", "POST", "/v1/commands", deep, 400, nil},
		{"deep arrays", "POST", "/v1/commands", strings.Repeat("[", 500000), 400, nil},
		{"wrong type", "POST", "/v1/commands", `{"target":{"meter":7},"type":"ping"}`, 400, nil},
		{"unknown member", "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"ping","x":1}`, 400, nil},
		{"number beyond all bounds", "POST", "/v1/commands", `{"target":{"group":1e400},"type":"ping"}`, 400, nil},
		{"bad cursor", "GET", "/v1/meters?cursor=%00%ff", "", 400, nil},
		{"bad cursor of a list that is paged here", "GET", "/v1/quarantines?cursor=x", "", 400, nil},
		{"long cursor", "GET", "/v1/meters?cursor=" + strings.Repeat("9", 600), "", 400, nil},
		{"limit that is no number", "GET", "/v1/meters?limit=all", "", 400, nil},
		{"limit too large", "GET", "/v1/meters?limit=1001", "", 400, nil},
		{"unknown parameter", "GET", "/v1/meters?colour=red", "", 400, nil},
		{"a parameter twice", "GET", "/v1/meters?limit=5&limit=6", "", 400, nil},
		{"id of other letters", "GET", "/v1/meters/%E3%83%A1%E3%83%BC%E3%82%BF", "", 400, nil},
		{"id with a slash", "GET", "/v1/meters/..%2F..%2Fetc%2Fpasswd", "", 400, nil},
		{"id with a zero byte", "GET", "/v1/meters/M1%00", "", 400, nil},
		{"query that is no UTF-8", "GET", "/v1/meters?path=%ff", "", 400, nil},
		{"time that is none", "GET", "/v1/meters/M1/readings?from=yesterday", "", 400, nil},
		{"condition that is not so", "PUT", "/v1/groups/12", `{"members":["M1"]}`, 412, []string{"If-Match", `"x"`}},
		{"events in a form that there is not", "GET", "/v1/events", "", 406, []string{"Accept", "application/json"}},
		{"a body of another type", "POST", "/v1/commands", `{}`, 415, []string{"Content-Type", "text/plain"}},
		{"a number without room", "POST", "/v1/commands", `{"target":{"group":4294967296},"type":"ping"}`, 400, nil},
		{"a number without room in a list", "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"groups","params":{"groups":[4294967296]}}`, 400, nil},
		{"a channel that there is not", "POST", "/v1/commands", `{"target":{"meter":"M1"},"type":"profile","params":{"channel":2}}`, 400, nil},
	} {
		resp, body := s.do(tc.method, tc.path, tc.body, tc.headers...)
		if tc.method == "HEAD" {
			if resp.StatusCode != tc.status {
				t.Errorf("%s: status %d", tc.name, resp.StatusCode)
			}
			continue
		}
		problemOf(tc.name, tc.status, resp, body)
		if tc.status == 405 && resp.Header.Get("Allow") == "" {
			t.Errorf("%s: no Allow", tc.name)
		}
	}
	for _, path := range []string{"/../../etc/passwd", "/assets/../../etc/passwd", "/%2e%2e/%2e%2e/etc/passwd", "/assets/%2e%2e%2findex.html%00"} {
		req, err := http.NewRequestWithContext(t.Context(), "GET", s.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		req.URL.Opaque = "//" + strings.TrimPrefix(s.URL, "http://") + path
		resp, err := s.Client().Do(req)
		if err != nil {
			t.Fatal(err)
		}
		body, _ := io.ReadAll(resp.Body)
		_ = resp.Body.Close()
		if resp.StatusCode == 200 && !bytes.Contains(body, []byte("<title>wattbus")) || bytes.Contains(body, []byte("root:")) {
			t.Errorf("%s: status %d, %.80s", path, resp.StatusCode, body)
		}
	}
	resp, _ := s.do("OPTIONS", "/v1/groups/12", "")
	if resp.StatusCode != 204 || resp.Header.Get("Allow") != "GET, HEAD, PUT, OPTIONS" {
		t.Errorf("OPTIONS: %d, Allow %q", resp.StatusCode, resp.Header.Get("Allow"))
	}
	resp, _ = s.do("OPTIONS", "/v1/nothing", "")
	if resp.StatusCode != 404 {
		t.Errorf("OPTIONS of nothing: %d", resp.StatusCode)
	}
}
