package web

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

var update = flag.Bool("update", false, "write the golden files anew")

// openapi is what the tests read of the document.
type openapi struct {
	OpenAPI    string
	Paths      map[string]map[string]operationDoc
	Components struct {
		Schemas    map[string]json.RawMessage
		Parameters map[string]paramDoc
	}
}

type operationDoc struct {
	OperationID string `json:"operationId"`
	Summary     string
	Tags        []string
	Responses   map[string]responseDoc
	Parameters  []paramDoc
}

type responseDoc struct {
	Content map[string]any
	Headers map[string]any
}

type paramDoc struct {
	Ref                   string `json:"$ref"`
	Name, In, Description string
}

func readOpenAPI(t *testing.T, s *site) (openapi, []byte) {
	t.Helper()
	resp, text := s.do("GET", "/openapi.json", "")
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "application/json" || resp.Header.Get("ETag") == "" {
		t.Fatalf("%d %v", resp.StatusCode, resp.Header)
	}
	var doc openapi
	if err := json.Unmarshal(text, &doc); err != nil {
		t.Fatal(err)
	}
	return doc, text
}

func TestOpenAPIOperations(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	doc, _ := readOpenAPI(t, s)
	if !strings.HasPrefix(doc.OpenAPI, "3.1") {
		t.Errorf("OpenAPI %q", doc.OpenAPI)
	}
	var lines []string
	seen := map[string]bool{}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			var params []string
			for _, p := range op.Parameters {
				if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok { // of many calls
					if doc.Components.Parameters[name].Description == "" {
						t.Errorf("%s %s: parameter %s is not described", method, path, name)
					}
					continue
				}
				params = append(params, p.In+":"+p.Name)
				if p.Description == "" {
					t.Errorf("%s %s: parameter %s is not described", method, path, p.Name)
				}
			}
			slices.Sort(params)
			line := fmt.Sprintf("%-6s %-28s %-20s %s", strings.ToUpper(method), path, op.OperationID, strings.Join(params, " "))
			lines = append(lines, strings.TrimRight(line, " "))
			if op.Summary == "" || len(op.Tags) != 1 || seen[op.OperationID] || op.Responses["default"].Content == nil || len(op.Responses) < 2 {
				t.Errorf("%s %s: %+v", method, path, op)
			}
			seen[op.OperationID] = true
		}
	}
	slices.Sort(lines)
	got := strings.Join(lines, "\n") + "\n"
	file := filepath.Join("testdata", "operations.golden")
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	golden, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(golden) {
		t.Errorf("the API has changed; if that is meant, run the test with -update\n%s", got)
	}
}

// Every documented call is routed, and every answer says what the document promises: a documented status and type.
func TestOpenAPIPathsAnswer(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	doc, text := readOpenAPI(t, s)
	v := newValidator(t, doc, text)
	bodies := map[string]string{"create-command": `{"target":{"meter":"M1"},"type":"ping"}`, "put-group": `{"members":["M1"]}`, "create-roll-out": `{"image":"` + testImage + `","target":{"path":"C1"}}`,
		"exchange-meter": `{"meter":"M2"}`, "retire-meter": `{}`, "import-registry": "usage_point\nU1\n",
		"put-billing-run": `{"what":"intervals","from":"2018-12-01","to":"2018-12-02"}`,
		"change-outage":   `{"stated":{"category":"vegetation"}}`,
		"replay-target":   `{"from":"2018-12-12T12:00:00Z"}`,
		"add-maintenance": `{"scope":"transformer","name":"T1","to":"2018-12-12T14:00:00Z"}`,
		"propose-edit":    `{"meter":"M1","from":"2018-12-12T12:00:00Z","to":"2018-12-12T12:30:00Z","action":"accept","reason":"site-visit"}`}
	ids := map[string]string{"{id}": "M1", "{n}": "12", "{name}": "march", "{sub}": "G1"}
	for _, order := range []string{"create-command", "put-group", "exchange-meter", "retire-meter", "import-registry", "put-billing-run", "replay-target", "change-outage", "create-roll-out", ""} { // what the others look at comes first
		for path, methods := range doc.Paths {
			for method, op := range methods {
				if order != "" && op.OperationID != order || order == "" && bodies[op.OperationID] != "" {
					continue
				}
				real := path
				switch {
				case strings.Contains(path, "/commands/"), strings.Contains(path, "/edits/"), strings.Contains(path, "/roll-outs/"):
					real = strings.ReplaceAll(real, "{id}", "100")
				case strings.Contains(path, "/firmware/"):
					real = strings.ReplaceAll(real, "{id}", testImage)
				case strings.Contains(path, "/targets/"):
					real = strings.ReplaceAll(real, "{name}", "lake")
				case strings.Contains(path, "/rule-sets/"):
					real = strings.ReplaceAll(real, "{id}", "0123456789ab")
				}
				for k, v := range ids {
					real = strings.ReplaceAll(real, k, v)
				}
				if op.OperationID == "follow-events" {
					real += "?meter=none"
				}
				if op.OperationID == "export" {
					real += "?from=2018-12-01&to=2018-12-02"
				}
				if op.OperationID == "explain-value" {
					real += "?at=2018-12-12T12:00:00Z"
				}
				if op.OperationID == "list-completeness" {
					real += "?by=age"
				}
				var headers []string
				if op.OperationID == "follow-events" { // else it streams; a refusal is an answer too
					headers = []string{"Accept", "application/json"}
				}
				resp, text := s.do(strings.ToUpper(method), real, bodies[op.OperationID], headers...)
				v.check(strings.ToUpper(method), path, resp, text)
				_, documented := op.Responses[fmt.Sprint(resp.StatusCode)]
				if strings.HasSuffix(op.OperationID, "-edit") && method == "post" || op.OperationID == "approve-command" || op.OperationID == "approve-roll-out" || op.OperationID == "release-quarantine" {
					documented = resp.StatusCode == 403 // nobody without a name may; TestEdits and TestTokensAndRights do it with one
				}
				if !documented && (op.OperationID != "follow-events" || resp.StatusCode != 406) {
					t.Errorf("%s %s: status %d is not documented: %s", method, real, resp.StatusCode, text)
				}
			}
		}
	}
	for path, methods := range doc.Paths {
		for method, op := range methods {
			if op.Responses["200"].Content["application/json"] == nil && op.Responses["202"].Content == nil || strings.HasSuffix(op.OperationID, "-edit") && method == "post" ||
				op.OperationID == "approve-command" || op.OperationID == "approve-roll-out" || op.OperationID == "release-quarantine" || op.OperationID == "export-end-device-events" || op.OperationID == "export" {
				continue // these need a name, or are no JSON
			}
			if !v.checked[op.OperationID] {
				t.Errorf("%s %s: no answer was held against its schema", method, path)
			}
		}
	}
}

// Every reference leads somewhere, and nothing stands in the document that no call uses.
func TestOpenAPIReferences(t *testing.T) {
	c := newCentre(t)
	s := serve(t, Options{Bus: c.bus})
	doc, text := readOpenAPI(t, s)
	const prefix = `"$ref": "#/components/schemas/`
	used := map[string]bool{"Event": true, "LiveRequest": true, "LiveControl": true, "ReadingEvent": true, "SubMeterEvent": true, "DeviceEvent": true}
	for rest := string(text); ; {
		_, after, ok := strings.Cut(rest, prefix)
		if !ok {
			break
		}
		name, tail, _ := strings.Cut(after, `"`)
		if doc.Components.Schemas[name] == nil {
			t.Errorf("schema %s is referred to and missing", name)
		}
		used[name] = true
		rest = tail
	}
	for name := range doc.Components.Schemas {
		if !used[name] {
			t.Errorf("schema %s is not used", name)
		}
	}
	if strings.Contains(string(text), "ErrorModel") {
		t.Error("huma's own error type is documented")
	}
}
