package api

import "fmt"

// maxFaults bounds the parts of a request that a problem names; all are counted.
const maxFaults = 100

// Faults collect what is wrong with the parts of one request, so that all of it is told at once. The zero value holds none.
type Faults struct {
	Count   int
	list    []FieldError
	invalid bool // one of them is worse than not known
}

// Unknown adds a part that names what is not known.
func (f *Faults) Unknown(field, format string, args ...any) {
	f.Count++
	if len(f.list) < maxFaults {
		f.list = append(f.list, FieldError{Field: field, Detail: fmt.Sprintf(format, args...)})
	}
}

// Invalid adds a part that is wrong in itself.
func (f *Faults) Invalid(field, format string, args ...any) {
	f.Unknown(field, format, args...)
	f.invalid = true
}

// Problem is what there is to answer, nil if nothing is wrong: of is what there are total of, then what became of the request.
func (f *Faults) Problem(total int, of, then string) error {
	if f.Count == 0 {
		return nil
	}
	p := &Problem{Title: "Not found", Status: 404}
	if f.invalid {
		p.Title, p.Status = "Bad request", 400
	}
	if f.Count == 1 {
		p.Field, p.Detail = f.list[0].Field, f.list[0].Detail+"; "+then
		return p
	}
	p.Detail, p.Errors = fmt.Sprintf("%d of %d %s are wrong; %s", f.Count, total, of, then), f.list
	return p
}
