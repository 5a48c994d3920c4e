package cli

import (
	"strings"
	"testing"
)

func TestRegistrationBudget(t *testing.T) {
	t.Parallel()
	for text, want := range map[string]string{
		"1000/2s":       "",
		"20/1m":         "",
		"1000":          `budget "1000"`,
		"1000/2s,20/1m": "2 budgets, want one",
		"1/1h":          "want at least 0.1",
	} {
		r := registrationFlags{text: text}
		if err := r.check(); want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v, want %q", text, err, want)
		}
	}
	r := registrationFlags{text: "1000/2s"}
	if err := r.check(); err != nil || r.rate() != 500 {
		t.Errorf("1000/2s is %v a second (%v), want 500", r.rate(), err)
	}
}
