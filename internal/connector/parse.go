package connector

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// parse reads the JSON of a request. A problem names the field and the offset at fault.
func parse(body []byte) (r api.CommandRequest, p *api.Problem) {
	d := json.NewDecoder(bytes.NewReader(body))
	d.DisallowUnknownFields()
	err := d.Decode(&r)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return r, nil
		}
		return r, api.BadRequest("", "at offset %d: want one JSON object and nothing behind it", d.InputOffset())
	}
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	var moment *time.ParseError
	unknown, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return r, api.BadRequest("", "at offset %d: it ends before the JSON object does", len(body))
	case errors.As(err, &syntax):
		return r, api.BadRequest("", "at offset %d: %v", max(syntax.Offset-1, 0), err)
	case errors.As(err, &wrong):
		at := valueAt(body, func(path []string) bool { return strings.Join(path, ".") == wrong.Field })
		return r, api.BadRequest(wrong.Field, "at offset %d: %s, want %s", at, wrong.Value, inWords(wrong.Type))
	case isUnknown:
		name := strings.Trim(unknown, `"`)
		at := valueAt(body, func(path []string) bool { return len(path) > 0 && path[len(path)-1] == name })
		return r, api.BadRequest(name, "at offset %d: a request has no such field", at)
	case errors.As(err, &moment):
		at := valueAt(body, func(path []string) bool { return slices.Equal(path, []string{"at"}) })
		return r, api.BadRequest("at", "at offset %d: want a time such as 2026-11-29T12:00:00Z", at)
	}
	return r, api.BadRequest("", "%v", err)
}

// inWords says what a field holds.
func inWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return inWords(t.Elem())
	case reflect.String:
		return "a string"
	case reflect.Bool:
		return "true or false"
	case reflect.Slice:
		return "a list"
	case reflect.Struct, reflect.Map:
		return "an object"
	}
	return "a whole number in its range"
}

// valueAt finds where the first value begins whose names, from the outermost object on, are the ones looked for. It is called with
// JSON that has been read, and returns where it got to if there is no such value.
func valueAt(body []byte, is func(path []string) bool) int {
	d := json.NewDecoder(bytes.NewReader(body))
	next := func() int {
		at := int(d.InputOffset())
		for at < len(body) && strings.IndexByte(" \t\r\n,:", body[at]) >= 0 {
			at++
		}
		return at
	}
	var find func(path []string) bool
	at := 0
	find = func(path []string) bool {
		if at = next(); is(path) {
			return true
		}
		t, err := d.Token()
		if err != nil {
			return true
		}
		switch t {
		case json.Delim('{'):
			for d.More() {
				k, err := d.Token()
				if err != nil {
					return true
				}
				name, _ := k.(string)
				if find(append(path, name)) {
					return true
				}
			}
		case json.Delim('['):
			for d.More() {
				if find(path) {
					return true
				}
			}
		default:
			return false
		}
		_, err = d.Token() // the closing one
		return err != nil
	}
	find(nil)
	return at
}
