package connector

import (
	"errors"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/format"
)

// parse reads the JSON of a request. A problem names the field and the offset at fault.
func parse(body []byte) (r api.CommandRequest, p *api.Problem) {
	err := format.Unmarshal(body, &r)
	var e *format.Error
	switch {
	case err == nil:
		return r, nil
	case errors.As(err, &e):
		return r, api.BadRequest(e.Field, "at offset %d: %s", e.Offset, e.What)
	}
	return r, api.BadRequest("", "%v", err)
}
