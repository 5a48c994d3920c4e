package web

import (
	"bytes"
	_ "embed" // the page's frame
	"encoding/json"
	"fmt"
	"html/template"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
)

// docsPath is the page that shows the OpenAPI document to people. It is made once, of the same document, and needs no script.
const docsPath = "/docs"

//go:embed docs.html
var docsFrame string

// docsOperation is a call as the page shows it.
type docsOperation struct {
	ID, Method, Path, Summary, Description, Right string
	Params                                        []docsParam
	Body                                          []docsContent
	Responses                                     []docsResponse
	Curl                                          string
}

type docsParam struct {
	Name, In, Type, Description string
	Required                    bool
}

type docsContent struct {
	Type   string
	Schema template.HTML
}

type docsResponse struct {
	Status, Description string
	Headers             []docsParam
	Content             []docsContent
}

type docsTag struct {
	Name, Description string
	Operations        []docsOperation
}

type docsSchema struct {
	Name, Description string
	Fields            []docsField
}

type docsField struct {
	Name        string
	Type        template.HTML
	Description string
	Required    bool
}

// docsPage renders the page.
func docsPage(doc *huma.OpenAPI) (staticFile, error) {
	tags := map[string]*docsTag{}
	var order []string
	tag := func(name, description string) *docsTag {
		if tags[name] == nil {
			tags[name] = &docsTag{Name: name, Description: description}
			order = append(order, name)
		}
		return tags[name]
	}
	for _, t := range doc.Tags {
		tag(t.Name, t.Description)
	}
	for _, path := range slices.Sorted(maps.Keys(doc.Paths)) {
		item := doc.Paths[path]
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch} {
			if op != nil {
				t := tag(op.Tags[0], "")
				t.Operations = append(t.Operations, docsOperationOf(doc, path, op))
			}
		}
	}
	page := struct {
		Title, Version, Description string
		Tags                        []*docsTag
		Schemas                     []docsSchema
	}{Title: doc.Info.Title, Version: doc.Info.Version, Description: doc.Info.Description}
	for _, name := range order {
		if len(tags[name].Operations) > 0 {
			page.Tags = append(page.Tags, tags[name])
		}
	}
	schemas := doc.Components.Schemas.Map()
	for _, name := range slices.Sorted(maps.Keys(schemas)) {
		page.Schemas = append(page.Schemas, docsSchemaOf(name, schemas[name]))
	}
	t, err := template.New("docs").Parse(docsFrame)
	if err != nil {
		return staticFile{}, err
	}
	var b bytes.Buffer
	if err := t.Execute(&b, page); err != nil {
		return staticFile{}, err
	}
	return newStaticFile(b.Bytes(), "text/html; charset=utf-8")
}

func docsOperationOf(doc *huma.OpenAPI, path string, op *huma.Operation) docsOperation {
	d := docsOperation{ID: op.OperationID, Method: op.Method, Path: path, Summary: op.Summary, Description: op.Description, Curl: docsCurl(path, op)}
	for _, s := range op.Security {
		for _, rights := range s {
			d.Right = strings.Join(rights, ", ")
		}
	}
	for _, p := range op.Parameters {
		if name, ok := strings.CutPrefix(p.Ref, "#/components/parameters/"); ok {
			p = doc.Components.Parameters[name]
		}
		d.Params = append(d.Params, docsParam{Name: p.Name, In: p.In, Type: docsText(p.Schema), Description: p.Description, Required: p.Required})
	}
	if op.RequestBody != nil {
		d.Body = docsContents(op.RequestBody.Content)
	}
	for _, status := range slices.Sorted(maps.Keys(op.Responses)) {
		r := op.Responses[status]
		one := docsResponse{Status: status, Description: r.Description, Content: docsContents(r.Content)}
		for _, name := range slices.Sorted(maps.Keys(r.Headers)) {
			h := r.Headers[name]
			if ref, ok := strings.CutPrefix(h.Ref, "#/components/headers/"); ok {
				h = doc.Components.Headers[ref]
			}
			one.Headers = append(one.Headers, docsParam{Name: name, Type: docsText(h.Schema), Description: h.Description})
		}
		d.Responses = append(d.Responses, one)
	}
	return d
}

func docsContents(content map[string]*huma.MediaType) []docsContent {
	var out []docsContent
	for _, name := range slices.Sorted(maps.Keys(content)) {
		out = append(out, docsContent{Type: name, Schema: docsType(content[name].Schema)})
	}
	return out
}

// docsType writes the type of a schema, with links to those that have a name.
func docsType(s *huma.Schema) template.HTML {
	switch {
	case s == nil:
		return ""
	case s.Ref != "":
		name := template.HTMLEscapeString(s.Ref[strings.LastIndexByte(s.Ref, '/')+1:])
		return template.HTML(`<a href="#schema-` + name + `">` + name + `</a>`)
	case s.Type == huma.TypeArray:
		return "[" + docsType(s.Items) + "]"
	case s.Type == huma.TypeObject:
		if values, ok := s.AdditionalProperties.(*huma.Schema); ok {
			return "{name: " + docsType(values) + "}"
		}
	}
	return template.HTML(template.HTMLEscapeString(docsText(s)))
}

// docsText writes the type of a simple schema and what bounds it.
func docsText(s *huma.Schema) string {
	if s == nil {
		return ""
	}
	text := s.Type
	if s.Type == huma.TypeArray {
		text = "[" + docsText(s.Items) + "]"
	}
	if s.Format != "" {
		text += " " + s.Format
	}
	if len(s.Enum) > 0 {
		var of []string
		for _, v := range s.Enum {
			of = append(of, fmt.Sprint(v))
		}
		text = strings.Join(of, " | ")
	}
	if s.Minimum != nil {
		text += fmt.Sprintf(", from %g", *s.Minimum)
	}
	if s.Maximum != nil {
		text += fmt.Sprintf(", to %.10g", *s.Maximum)
	}
	if s.MaxLength != nil {
		text += fmt.Sprintf(", at most %d long", *s.MaxLength)
	}
	if s.MaxItems != nil {
		text += fmt.Sprintf(", at most %d", *s.MaxItems)
	}
	if s.Default != nil {
		if def, err := json.Marshal(s.Default); err == nil {
			text += ", default " + strings.Trim(string(def), `"`)
		}
	}
	if s.Nullable {
		text += " or null"
	}
	return text
}

func docsSchemaOf(name string, s *huma.Schema) docsSchema {
	d := docsSchema{Name: name, Description: s.Description}
	for _, field := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[field]
		d.Fields = append(d.Fields, docsField{Name: field, Type: docsType(p), Description: p.Description, Required: slices.Contains(s.Required, field)})
	}
	return d
}

// docsCurl is the call as one would try it.
func docsCurl(path string, op *huma.Operation) string {
	text := "curl -H \"Authorization: Bearer $TOKEN\""
	if op.Method != http.MethodGet {
		text += " -X " + op.Method
	}
	if op.RequestBody != nil {
		for _, kind := range slices.Sorted(maps.Keys(op.RequestBody.Content)) {
			text += " -H \"Content-Type: " + kind + "\" -d @body"
			break
		}
	}
	return text + " \"$CENTRE" + path + "\""
}
