package console

import (
	"bytes"
	"compress/gzip"
	"io/fs"
	"path"
	"regexp"
	"strings"
	"testing"
)

// maxScript is the size of all scripts together, gzipped, that a first visit may cost, bytes.
const maxScript = 150 << 10

var reference = regexp.MustCompile(`(?:src|href)="\./([^"]+)"`)

// A page whose files were committed without one another would stay white.
func TestPageRefersToFilesThatAreThere(t *testing.T) {
	page, err := fs.ReadFile(FS(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	refs := reference.FindAllSubmatch(page, -1)
	if len(refs) < 3 {
		t.Fatalf("index.html refers to %d files, want a script, a style and an icon at least", len(refs))
	}
	for _, r := range refs {
		if _, err := fs.Stat(FS(), string(r[1])); err != nil {
			t.Errorf("index.html refers to a file that is not there: %v", err)
		}
	}
	if bytes.Contains(page, []byte("<script>")) {
		t.Error("index.html has a script of its own, which the content security policy forbids")
	}
}

func TestScriptsStaySmall(t *testing.T) {
	var total int
	err := fs.WalkDir(FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || path.Ext(name) != ".js" {
			return err
		}
		text, err := fs.ReadFile(FS(), name)
		if err != nil {
			return err
		}
		var z bytes.Buffer
		w := gzip.NewWriter(&z)
		if _, err := w.Write(text); err != nil {
			return err
		}
		if err := w.Close(); err != nil {
			return err
		}
		total += z.Len()
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if total == 0 || total > maxScript {
		t.Errorf("scripts have %d bytes gzipped, want 1 to %d", total, maxScript)
	}
}

// The console must work where there is no way to the internet.
func TestNothingIsFetchedFromElsewhere(t *testing.T) {
	elsewhere := regexp.MustCompile(`(?:url\(|src=|href=|import\()["']?https?://`)
	err := fs.WalkDir(FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() || !strings.Contains(".html.css.js", path.Ext(name)) {
			return err
		}
		text, err := fs.ReadFile(FS(), name)
		if m := elsewhere.Find(text); m != nil {
			t.Errorf("%s has %q", name, m)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}
