package archtest

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/wattbus/wattbus/"

// groups lists the packages in the order of ARCHITECTURE.md: a package may import those of earlier groups, and of its own
// group only where peers says so. A new package is put here by hand.
var groups = []struct {
	name     string
	packages []string
	peers    bool
}{
	{name: "vocabulary", packages: []string{"internal/cim", "internal/clock", "internal/api", "data"}},
	{name: "codecs", packages: []string{"internal/topic", "internal/audit", "internal/record", "internal/mqtt", "internal/mqttsn",
		"internal/seal", "internal/crc", "internal/format", "internal/echonet", "internal/dsmr", "internal/dlms", "internal/record/descriptor", "internal/jsonmap"}, peers: true},
	{name: "mechanisms", packages: []string{"internal/config", "internal/dataset", "internal/broker", "internal/client", "internal/bridge", "internal/gateway",
		"internal/broker/conformance", "internal/broker/peers", "internal/broker/sqlitestore",
		"internal/snlink", "internal/snclient", "internal/stomp", "internal/formats",
		"internal/bus", "internal/dirlock", "internal/listen", "internal/auth", "internal/reload", "internal/child", "internal/devtools", "internal/store", "internal/store/sqlite", "internal/store/postgres", "internal/store/postgres/pgtest", "internal/store/storetest", "internal/apiclient", "internal/screen", "internal/top",
		"internal/tariff", "internal/billing", "internal/export", "internal/exportfile", "internal/backup"}, peers: true},
	{name: "engines", packages: []string{"internal/mdms/backfill", "internal/mdms/command", "internal/mdms/firmware", "internal/mdms/outage",
		"internal/mdms/registry", "internal/mdms/vee"}},
	{name: "roles", packages: []string{"internal/concentrator", "internal/connector", "internal/eeb", "internal/mdms", "internal/meter", "internal/web", "web/console"}},
	{name: "SDK", packages: []string{"device"}},
	{name: "home", packages: []string{"internal/han", "internal/han/hantest"}},
	{name: "fleet", packages: []string{"internal/fleet"}},
	{name: "bench", packages: []string{"internal/brokerbench", "internal/veebench", "internal/storebench", "internal/commandsim", "internal/outagebench"}},
	{name: "door", packages: []string{"internal/cli", "cmd/wattbus", "examples/meter", "e2e", "internal/archtest"}, peers: true},
}

// forbidden are imports that the order of the groups alone would allow.
var forbidden = []struct{ from, to, why string }{
	{"internal/topic", "net", "codecs do no I/O"},
	{"internal/audit", "os", "codecs do no I/O"},
	{"internal/record", "net", "codecs do no I/O"},
	{"internal/mqtt", "net", "codecs do no I/O"},
	{"internal/mqttsn", "net", "codecs do no I/O"},
	{"internal/tariff", "net", "a calendar does no I/O beyond its file"},
	{"internal/export", "os", "formats are written to what is given"},
	{"internal/export", "net/http", "formats know no transport"},
	{"internal/billing", "os", "billing is arithmetic"},
	{"internal/billing", "net", "billing is arithmetic"},
	{"internal/echonet", "net", "codecs do no I/O"},
	{"internal/dsmr", "net", "codecs do no I/O"},
	{"internal/dlms", "net", "codecs do no I/O"},
	{"internal/dlms", "os", "codecs do no I/O"},
	{"internal/seal", "os", "codecs do no I/O"},
	{"internal/jsonmap", "net", "codecs do no I/O"},
	{"internal/record/descriptor", "os", "codecs do no I/O"},
	{"internal/top", "os", "a picture touches no terminal"},
	{"internal/top", module + "internal/apiclient", "a picture asks nobody"},
	{"internal/cim", "encoding/json", "nouns know no wire format"},
	{"internal/mdms/vee", "net", "rules do no I/O"},
	{"internal/mdms/vee", "os", "rules do no I/O"},
	{"internal/mdms", module + "internal/broker", "the MDMS speaks no transport"},
	{"internal/mdms", module + "internal/client", "the MDMS speaks no transport"},
	{"internal/web", module + "internal/store", "web asks over the bus"},
	{"internal/web", module + "internal/broker", "web asks over the bus"},
	{"internal/fleet", module + "internal/broker", "a fleet contains no broker"},
	{"internal/concentrator", module + "internal/bus", "a concentrator knows no centre"},
	{"internal/meter", module + "internal/bus", "a meter knows no centre"},
	{"internal/meter", module + "internal/dataset", "a meter takes its load curve from outside"},
}

type pkg struct {
	ImportPath, Dir string
	Doc             string
	Imports         []string
	GoFiles         []string
}

func list(t *testing.T) []pkg {
	t.Helper()
	root, err := filepath.Abs("../..")
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command("go", "list", "-json=ImportPath,Dir,Doc,Imports,GoFiles", "./...")
	cmd.Dir = root
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("go list: %v", err)
	}
	var pkgs []pkg
	for dec := json.NewDecoder(strings.NewReader(string(out))); dec.More(); {
		var p pkg
		if err := dec.Decode(&p); err != nil {
			t.Fatal(err)
		}
		p.ImportPath = strings.TrimPrefix(p.ImportPath, module)
		pkgs = append(pkgs, p)
	}
	return pkgs
}

func group(path string) int {
	return slices.IndexFunc(groups, func(g struct {
		name     string
		packages []string
		peers    bool
	}) bool {
		return slices.Contains(g.packages, path)
	})
}

func TestImports(t *testing.T) {
	for _, p := range list(t) {
		from := group(p.ImportPath)
		if from < 0 {
			t.Errorf("package %s stands in no group: put it into arch_test.go and ARCHITECTURE.md", p.ImportPath)
			continue
		}
		for _, imp := range p.Imports {
			for _, f := range forbidden {
				if p.ImportPath == f.from && imp == f.to {
					t.Errorf("%s imports %s: %s", p.ImportPath, imp, f.why)
				}
			}
			path, ours := strings.CutPrefix(imp, module)
			if !ours {
				continue
			}
			to := group(path)
			if to > from || to == from && !groups[from].peers {
				t.Errorf("%s (%s) imports %s (%s)", p.ImportPath, groups[from].name, path, groups[max(to, 0)].name)
			}
		}
	}
}

func TestEveryPackageSaysWhatItIs(t *testing.T) {
	for _, p := range list(t) {
		if len(p.GoFiles) > 0 && len(p.Doc) < 40 {
			t.Errorf("package %s: no package comment that says what lives here", p.ImportPath)
		}
		for _, f := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, f))
			if err != nil {
				t.Fatal(err)
			}
			if n := strings.Count(string(text), "\n"); n > 600 {
				t.Errorf("%s/%s has %d lines: one room or several?", p.ImportPath, f, n)
			}
		}
	}
}
