package format

import (
	"errors"
	"fmt"
	"testing"
)

func TestError(t *testing.T) {
	e := At("import", 12, ErrValue, "digit 0x%x", 0xc)
	if got, want := e.Error(), "import at offset 12: digit 0xc: value outside its range"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	e.Line = 3
	if got, want := e.Error(), "import in line 3 at offset 12: digit 0xc: value outside its range"; got != want {
		t.Errorf("%q, want %q", got, want)
	}
	if Reason(fmt.Errorf("x: %w", e)) != "value" || Reason(errors.New("x")) != "other" {
		t.Error("reasons")
	}
	for _, r := range reasons {
		if Reason(r.err) != r.name {
			t.Error(r.name)
		}
	}
}
