package web

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"reflect"
	"slices"
	"strings"

	"github.com/danielgtaylor/huma/v2"
	"github.com/danielgtaylor/huma/v2/adapters/humago"

	"github.com/wattbus/wattbus/internal/api"
)

// jsonFormat reads and writes bodies. It leaves '<' and '&' alone: no answer is ever part of a page.
func jsonFormat() huma.Format {
	return huma.Format{
		Marshal: func(w io.Writer, v any) error {
			enc := json.NewEncoder(w)
			enc.SetEscapeHTML(false)
			return enc.Encode(v)
		},
		Unmarshal: json.Unmarshal,
	}
}

// newAPI makes the huma API on the mux. It serves no documents of its own: see document.
func newAPI(mux *http.ServeMux, version string, token bool) huma.API {
	registry := huma.NewMapRegistry("#/components/schemas/", huma.DefaultSchemaNamer)
	doc := &huma.OpenAPI{
		OpenAPI: "3.1.0",
		Info: &huma.Info{
			Title: "wattbus", Version: version,
			Description: "The centre of a wattbus installation: meters and their intervals, commands, concentrators, outages, live events. " +
				"Times are RFC 3339, energy is Wh, ids of commands are decimal strings, a path is the ids of concentrators joined by '/'. " +
				"Errors are problem documents (RFC 9457). Lists come in pages: give `next` of one page as `cursor` for the following one. " +
				"What is read has an ETag. Each caller has an allowance of requests, told by the header RateLimit; one too many gets 429 and Retry-After.",
			License: &huma.License{Name: "Apache-2.0", Identifier: "Apache-2.0"},
		},
		Components: &huma.Components{Schemas: registry},
		Tags: []*huma.Tag{
			{Name: "meters", Description: "Registry, live state and intervals."},
			{Name: "registry", Description: "Usage points, meters as things, and which meter was where when."},
			{Name: "commands", Description: "What meters are told to do."},
			{Name: "firmware", Description: "Images of firmware, and their roll-outs to meters."},
			{Name: "groups", Description: "Meters that are addressed together."},
			{Name: "network", Description: "Concentrators, outages, completeness."},
			{Name: "outages", Description: "Outages, interruptions, reliability indices, maintenance."},
			{Name: "events", Description: "Live events."},
			{Name: "operations", Description: "Health, metrics, dead letters."},
		},
	}
	if token {
		doc.Components.SecuritySchemes = map[string]*huma.SecurityScheme{"token": {Type: "http", Scheme: "bearer"}}
	}
	h := humago.New(mux, huma.Config{
		OpenAPI:                      doc,
		Formats:                      map[string]huma.Format{"application/json": jsonFormat(), "json": jsonFormat()},
		DefaultFormat:                "application/json",
		RejectUnknownQueryParameters: true,
		Transformers:                 []huma.Transformer{toProblem},
	})
	h.UseMiddleware(badRequests, repeated)
	return h
}

func operation(id, method, path, tag, summary, description string) huma.Operation {
	return huma.Operation{OperationID: id, Method: method, Path: path, Tags: []string{tag}, Summary: summary, Description: description,
		MaxBodyBytes: maxBody}
}

// problemResponse describes every error of every call.
func problemResponse(h huma.API) *huma.Response {
	return &huma.Response{Description: "A problem document", Content: map[string]*huma.MediaType{
		problemType: {Schema: h.OpenAPI().Components.Schemas.Schema(reflect.TypeFor[api.Problem](), true, "Problem")}}}
}

// withProblem adds the description of errors, in place of huma's own error type.
func withProblem(h huma.API, op huma.Operation) huma.Operation {
	if op.Responses == nil {
		op.Responses = map[string]*huma.Response{}
	}
	op.Responses["default"] = problemResponse(h)
	return op
}

// describeMetrics describes the one call that huma does not serve.
func describeMetrics(h huma.API) {
	op := withProblem(h, operation("metrics", http.MethodGet, "/metrics", "operations", "Metrics for Prometheus", ""))
	op.Responses["200"] = &huma.Response{Description: "Metrics", Content: map[string]*huma.MediaType{
		"text/plain": {Schema: &huma.Schema{Type: huma.TypeString}}}}
	h.OpenAPI().AddOperation(&op)
}

// needRights says of each call which right its token needs. OpenAPI 3.1, 4.8.30: roles, for a scheme that is not OAuth.
func needRights(doc *huma.OpenAPI) {
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch} {
			if op != nil && !open(path) {
				op.Security = []map[string][]string{{"token": {string(rightFor(op.Method, path))}}}
			}
		}
	}
}

// describeManners says what holds for many calls: ETags, rates.
func describeManners(doc *huma.OpenAPI) {
	text, number := &huma.Schema{Type: huma.TypeString}, &huma.Schema{Type: huma.TypeInteger}
	c := doc.Components
	c.Headers = map[string]*huma.Header{
		"ETag":        {Description: "Names this state of the answer; for If-None-Match and If-Match.", Schema: text},
		"RateLimit":   {Description: "What is left of the caller's allowance of requests (r), and after how many seconds all of it is there again (t).", Schema: text},
		"Retry-After": {Description: "Seconds after which another try makes sense, of 429 and some 503.", Schema: number},
	}
	c.Parameters = map[string]*huma.Param{"IfNoneMatch": {Name: "If-None-Match", In: "header", Schema: text,
		Description: "ETags of answers that the client has: if it is still one of them, the answer is 304 without a body."}}
	for path, item := range doc.Paths {
		for _, op := range []*huma.Operation{item.Get, item.Put, item.Post, item.Delete, item.Patch} {
			if op == nil {
				continue
			}
			if r := op.Responses["default"]; r != nil && !open(path) {
				r.Headers = map[string]*huma.Header{"RateLimit": {Ref: "#/components/headers/RateLimit"}, "Retry-After": {Ref: "#/components/headers/Retry-After"}}
			}
			ok := op.Responses["200"]
			if op.Method != http.MethodGet || !strings.HasPrefix(path, "/v1/") || streams(path) || path == exportPath || ok == nil {
				continue
			}
			op.Parameters = append(op.Parameters, &huma.Param{Ref: "#/components/parameters/IfNoneMatch"})
			op.Responses["304"] = &huma.Response{Description: "The client has it already"}
			if ok.Headers == nil {
				ok.Headers = map[string]*huma.Header{}
			}
			ok.Headers["ETag"] = &huma.Header{Ref: "#/components/headers/ETag"}
		}
	}
}

// document renders the OpenAPI document once and for all.
func document(h huma.API) (staticFile, error) {
	all := h.OpenAPI()
	describeManners(all)
	if len(all.Components.SecuritySchemes) > 0 {
		needRights(all)
	}
	schemas := all.Components.Schemas.Map()
	delete(schemas, "ErrorModel") // registered by huma for the errors that toProblem replaces
	delete(schemas, "ErrorDetail")
	// What only travels in events and on the WebSocket belongs in the document too.
	for _, t := range []reflect.Type{reflect.TypeFor[api.Event](), reflect.TypeFor[api.LiveRequest](), reflect.TypeFor[api.LiveControl](),
		reflect.TypeFor[api.ReadingEvent](), reflect.TypeFor[api.SubMeterEvent](), reflect.TypeFor[api.DeviceEvent]()} {
		all.Components.Schemas.Schema(t, true, "")
	}
	for _, s := range schemas {
		if items := s.Properties["items"]; items != nil && slices.Contains(s.Required, "items") {
			items.Nullable = false // see page
		}
	}
	text, err := json.Marshal(all)
	if err != nil {
		return staticFile{}, err
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, text, "", "  "); err != nil {
		return staticFile{}, err
	}
	return newStaticFile(pretty.Bytes(), "application/json")
}
