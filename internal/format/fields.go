package format

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"reflect"
	"slices"
	"strings"
	"time"
)

// Unmarshal reads one JSON document, numbers as they stand where into does not say otherwise, and refuses fields that into does not have. An
// error is an Error that names the field and the offset in the document.
func Unmarshal(doc []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(doc))
	d.DisallowUnknownFields()
	d.UseNumber()
	err := d.Decode(into)
	if err == nil {
		if _, err = d.Token(); errors.Is(err, io.EOF) {
			return nil
		}
		return At("", int(d.InputOffset()), ErrSyntax, "want one JSON document and nothing behind it")
	}
	var told *Error
	var syntax *json.SyntaxError
	var wrong *json.UnmarshalTypeError
	var moment *time.ParseError
	unknown, isUnknown := strings.CutPrefix(err.Error(), "json: unknown field ")
	switch {
	case errors.As(err, &told):
		return err
	case errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF):
		return At("", len(doc), ErrSyntax, "it ends before the JSON document does")
	case errors.As(err, &syntax):
		return At("", int(max(syntax.Offset-1, 0)), ErrSyntax, "%v", err)
	case errors.As(err, &wrong):
		at := valueAt(doc, func(path []string) bool { return strings.Join(path, ".") == wrong.Field })
		return At(wrong.Field, at, ErrValue, "%s, want %s", wrong.Value, kindInWords(wrong.Type))
	case isUnknown:
		name := strings.Trim(unknown, `"`)
		at := valueAt(doc, func(path []string) bool { return len(path) > 0 && path[len(path)-1] == name })
		return At(name, at, ErrValue, "there is no such field")
	case errors.As(err, &moment):
		at := valueAt(doc, func(path []string) bool { return slices.Equal(path, []string{"at"}) })
		return At("at", at, ErrValue, "want a time such as 2026-11-29T12:00:00Z")
	}
	return fmt.Errorf("%w: %w", ErrValue, err)
}

// kindInWords says what a field holds.
func kindInWords(t reflect.Type) string {
	switch t.Kind() {
	case reflect.Pointer:
		return kindInWords(t.Elem())
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
