package export

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestXMLAgainstGrammar has xmllint, which shares no code with us, read what we write, and hold it to grammars of ours: the schemas of
// NAESB and IEC may not be carried here.
func TestXMLAgainstGrammar(t *testing.T) {
	program, err := exec.LookPath("xmllint")
	if err != nil {
		if os.Getenv("WATTBUS_CI") != "" {
			t.Fatal("xmllint is not installed")
		}
		t.Skip("xmllint is not installed")
	}
	grammars := map[Format]string{ESPI: "espi.rng", CIM: "meterreadings.rng"}
	lint := func(f Format, text []byte) (string, error) {
		cmd := exec.CommandContext(t.Context(), program, "--noout", "--nonet", "--relaxng", filepath.Join("testdata", grammars[f]), "-")
		cmd.Stdin = bytes.NewReader(text)
		out, err := cmd.CombinedOutput()
		return string(out), err
	}
	base, ps := sample(t)
	for _, h := range combinations() {
		if grammars[h.Format] == "" {
			continue
		}
		h.From, h.To, h.Known = base.From, base.To, base.Known
		for name, some := range map[string][]*Point{"all": ps, "none": nil, "last": ps[len(ps)-1:]} {
			text, _ := write(t, h, some...)
			if out, err := lint(h.Format, text); err != nil {
				t.Errorf("%s of %s, %s: %v: %.2000s", h.What, h.Format, name, err, out)
			}
		}
		text, _ := write(t, h, ps...)
		for _, damage := range [][2]string{{"<value>", "<value>x"}, {"<start>", "<begin>1</begin><start>"}, {"UsagePoint>", "UsagePoint>&nothing;"}} {
			damaged := strings.Replace(string(text), damage[0], damage[1], 1)
			if damaged == string(text) {
				t.Fatalf("no %s in %s of %s", damage[0], h.What, h.Format)
			}
			if _, err := lint(h.Format, []byte(damaged)); err == nil {
				t.Errorf("%s of %s with %s is taken", h.What, h.Format, damage[1])
			}
		}
	}
}
