package format

import (
	"errors"
	"fmt"
	"testing"
	"time"
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

func TestZone(t *testing.T) {
	for s, off := range map[string]int{"+09:00": 9 * 3600, "-03:30": -12600, "Asia/Tokyo": 9 * 3600, "UTC": 0} {
		l, err := Zone(s)
		if err != nil {
			t.Fatal(err)
		}
		if _, got := time.Unix(0, 0).In(l).Zone(); got != off {
			t.Errorf("%s: %d s, want %d", s, got, off)
		}
	}
	for _, s := range []string{"Local", "Mars", "+9"} {
		if _, err := Zone(s); err == nil {
			t.Error(s)
		}
	}
}
