package format

import (
	"errors"
	"fmt"
	"strings"
)

// The reasons for which a message is refused. They are the `reason` of dead letters.
var (
	ErrLength   = errors.New("wrong length")
	ErrVersion  = errors.New("unknown version")
	ErrSyntax   = errors.New("not well-formed")
	ErrValue    = errors.New("value outside its range")
	ErrCheckSum = errors.New("check sum is wrong")
	ErrUnit     = errors.New("unit is not known")
	ErrKey      = errors.New("cannot be decrypted")
	ErrMissing  = errors.New("is missing")
)

var reasons = []struct {
	err  error
	name string
}{{ErrLength, "length"}, {ErrVersion, "version"}, {ErrSyntax, "syntax"}, {ErrValue, "value"}, {ErrCheckSum, "checksum"},
	{ErrUnit, "unit"}, {ErrKey, "key"}, {ErrMissing, "missing"}}

// Reason gives the short name of an error that wraps one of this package, "other" if it wraps none.
func Reason(err error) string {
	for _, r := range reasons {
		if errors.Is(err, r.err) {
			return r.name
		}
	}
	return "other"
}

// Error is what is wrong with a message, and where.
type Error struct {
	Field  string // name of the field or property at fault; "" where it is the message
	Line   int    // of a text, from 1; 0 where the format has no lines
	Offset int    // of the first byte at fault, from 0, in the message
	What   string // what is there and what was wanted
	Err    error  // one of the reasons
}

// Error names the field and where it stands.
func (e *Error) Error() string {
	var b strings.Builder
	if e.Field != "" {
		b.WriteString(e.Field)
		b.WriteByte(' ')
	}
	if e.Line > 0 {
		fmt.Fprintf(&b, "in line %d ", e.Line)
	}
	fmt.Fprintf(&b, "at offset %d: ", e.Offset)
	if e.What != "" {
		b.WriteString(e.What)
		b.WriteString(": ")
	}
	b.WriteString(e.Err.Error())
	return b.String()
}

// Unwrap is the reason.
func (e *Error) Unwrap() error { return e.Err }

// At makes an error of a field at an offset.
func At(field string, offset int, reason error, what string, args ...any) *Error {
	return &Error{Field: field, Offset: offset, What: fmt.Sprintf(what, args...), Err: reason}
}
