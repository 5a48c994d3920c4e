package web

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strconv"
	"strings"

	"github.com/danielgtaylor/huma/v2"

	"github.com/wattbus/wattbus/internal/api"
)

// problemType is the media type of RFC 9457, section 3.
const problemType = "application/problem+json"

// title is what a problem of a status is called where there is nothing more to say, as the other roles write it: "Bad request".
func title(status int) string {
	words := strings.Fields(http.StatusText(status))
	for i, w := range words {
		if i > 0 && strings.ToUpper(w) != w { // "URI" stays
			words[i] = strings.ToLower(w)
		}
	}
	return strings.Join(words, " ")
}

// problem makes a problem that its status names.
func problem(status int, detail string) *api.Problem {
	return &api.Problem{Title: title(status), Status: status, Detail: detail}
}

// writeProblem answers with p.
func writeProblem(w http.ResponseWriter, p *api.Problem) {
	text, err := json.Marshal(p.Tell())
	if err != nil { // a Problem holds strings and numbers only
		text = []byte(`{"title":"Internal server error","status":500}`)
	}
	h := w.Header()
	h.Set("Content-Type", problemType)
	h.Set("Cache-Control", "no-store")
	h.Del("Etag")
	w.WriteHeader(p.Status)
	if _, err := w.Write(append(text, '\n')); err != nil {
		return // the client is gone
	}
}

// statusProblem carries a problem through huma, which writes it with its status and content type.
type statusProblem struct{ *api.Problem }

// GetStatus is the HTTP status. (huma.StatusError)
func (p statusProblem) GetStatus() int { return p.Status }

// ContentType is the media type of a problem. (huma.ContentTypeFilter)
func (p statusProblem) ContentType(string) string { return problemType }

// MarshalJSON renders the problem itself.
func (p statusProblem) MarshalJSON() ([]byte, error) { return json.Marshal(p.Tell()) }

// asError turns a handler's error into what huma renders. What is no problem is no business of the client's.
func (s *Server) asError(err error) error {
	var p *api.Problem
	if errors.As(err, &p) {
		q := *p
		if q.Status < 400 || q.Status > 599 {
			q.Status = http.StatusInternalServerError
		}
		if q.Title == "" {
			q.Title = title(q.Status)
		}
		return statusProblem{&q}
	}
	if errors.Is(err, context.Canceled) { // by the client, or by the end of this server
		s.log.Debug("request given up", "error", err)
		return statusProblem{problem(http.StatusRequestTimeout, "the request was given up")}
	}
	s.log.Error("request failed", "error", err)
	return statusProblem{problem(http.StatusInternalServerError, "the request could not be carried out; the server's log says why")}
}

// toProblem is the huma transformer that renders huma's own errors, those of validation, as problems.
func toProblem(_ huma.Context, _ string, v any) (any, error) {
	m, ok := v.(*huma.ErrorModel)
	if !ok {
		return v, nil
	}
	p := problem(m.Status, m.Detail)
	if m.Status == http.StatusUnprocessableEntity {
		p = problem(http.StatusBadRequest, m.Detail)
	}
	switch {
	case m.Status == http.StatusRequestEntityTooLarge:
		p.Detail = fmt.Sprintf("the body is too large, want less than %d bytes", maxBody)
	case m.Detail == "request body is required":
		p.Detail = "it is required and missing"
	}
	for _, e := range m.Errors {
		if e != nil {
			p.Errors = append(p.Errors, fieldError(e))
		}
	}
	if len(p.Errors) > 0 {
		p.Field, p.Detail = p.Errors[0].Field, p.Errors[0].Detail
	}
	if len(p.Errors) == 1 {
		p.Errors = nil
	}
	if strings.HasPrefix(m.Detail, "request body") {
		p.Field = "body"
	}
	return p.Tell(), nil
}

// fieldError says what is wrong with which field. A missing one is named itself, not the object that lacks it.
func fieldError(e *huma.ErrorDetail) api.FieldError {
	location := e.Location
	if name, ok := strings.CutPrefix(e.Message, "expected required property "); ok {
		if name, ok = strings.CutSuffix(name, " to be present"); ok {
			return api.FieldError{Field: fieldName(location + "." + name), Detail: "it is required and missing"}
		}
	}
	if e.Message == "unknown query parameter" {
		return api.FieldError{Field: fieldName(location), Detail: "unknown parameter; see /openapi.json"}
	}
	if kind, ok := strings.CutPrefix(e.Message, huma.ErrUnknownContentType.Error()+": "); ok {
		return api.FieldError{Field: "Content-Type", Detail: fmt.Sprintf("%.40q, want application/json", kind)}
	}
	if m := tooGreat.FindStringSubmatch(e.Message); m != nil {
		return api.FieldError{Field: cmp.Or(m[2], fieldName(location)), Detail: fmt.Sprintf("%.40q is too large", m[1])}
	}
	return api.FieldError{Field: fieldName(location), Detail: valued(e.Value) + plain(e.Message)}
}

// valued is the value that was sent, where it is a single one.
func valued(v any) string {
	switch v := v.(type) {
	case string:
		return fmt.Sprintf("%.40q, ", v)
	case float64: // any number of JSON
		return strconv.FormatFloat(v, 'f', -1, 64) + ", "
	case bool, int, int32, int64, uint, uint32, uint64, float32:
		return fmt.Sprintf("%v, ", v)
	}
	return ""
}

// fieldName is the field's name as the client wrote it: "limit" for query.limit, "target.meter" for body.target.meter.
func fieldName(location string) string {
	for _, in := range []string{"query.", "path.", "header.", "body."} {
		if rest, ok := strings.CutPrefix(location, in); ok {
			return rest
		}
	}
	return location
}

// tooGreat is how encoding/json says that a number has no room in its field.
var tooGreat = regexp.MustCompile(`^json: cannot unmarshal number (\S+) into Go (?:struct field [^.]+\.(\S+)|value) of type`)

// bound is a bound of huma's as Go writes it once it has seven digits.
var bound = regexp.MustCompile(`[0-9.]+e\+[0-9]+$`)

// plain rewords the messages of huma's that speak Go.
func plain(message string) string {
	switch {
	case strings.HasPrefix(message, "invalid date/time for format"):
		return "not an RFC 3339 time such as 2018-12-12T00:00:00Z"
	case message == "unexpected end of JSON input":
		return "invalid end of JSON"
	}
	return bound.ReplaceAllStringFunc(message, func(s string) string {
		if n, err := strconv.ParseFloat(s, 64); err == nil {
			s = strconv.FormatFloat(n, 'f', -1, 64)
		}
		return s
	})
}

// badRequests makes huma answer 400 where it would answer 422, so that a wrong request has one status whoever found it.
func badRequests(ctx huma.Context, next func(huma.Context)) { next(statusContext{ctx}) }

type innerContext = huma.Context

type statusContext struct{ innerContext }

func (c statusContext) SetStatus(code int) {
	if code == http.StatusUnprocessableEntity {
		code = http.StatusBadRequest
	}
	c.innerContext.SetStatus(code)
}

// Unwrap gives the context of the adapter. (humago.Unwrap)
func (c statusContext) Unwrap() huma.Context { return c.innerContext }
