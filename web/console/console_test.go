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

// maxScript is the size of the scripts, gzipped, that a first visit may cost: those that the page names, and the largest one that it
// loads for what is looked at. maxScripts is that of all together.
const (
	maxScript  = 90 << 10
	maxScripts = 190 << 10
)

// maxOwnScript is the size of the script that stands in the page, which is not kept by the browser like the others.
const maxOwnScript = 6 << 10

var (
	reference = regexp.MustCompile(`(?:src|href)="\./([^"]+)"`)
	ownScript = regexp.MustCompile(`(?s)<script>.*?</script>`)
	file      = regexp.MustCompile("`\\./(assets/[^`]+)`")
)

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
	if style := bytes.Index(page, []byte(`rel="stylesheet"`)); style < bytes.Index(page, []byte(`class="shell"`)) {
		t.Error("the shell stands behind the style, and is not painted before that is there")
	}
	// The one whose hash is in the content security policy: it is short, and stands before what is asked for by name.
	own := ownScript.FindAllSubmatchIndex(page, -1)
	if len(own) != 1 || own[0][1]-own[0][0] > maxOwnScript || own[0][0] > bytes.Index(page, []byte(`type="module"`)) {
		t.Errorf("index.html has %d scripts of its own, at %v, want one of at most %d bytes before the others", len(own), own, maxOwnScript)
		return
	}
	for _, r := range file.FindAllSubmatch(page[own[0][0]:own[0][1]], -1) {
		if _, err := fs.Stat(FS(), string(r[1])); err != nil {
			t.Errorf("the script in index.html asks for a file that is not there: %v", err)
		}
	}
}

func TestScriptsStaySmall(t *testing.T) {
	page, err := fs.ReadFile(FS(), "index.html")
	if err != nil {
		t.Fatal(err)
	}
	page = ownScript.ReplaceAll(page, nil) // it names those of all pages
	var all, named, largest int
	err = fs.WalkDir(FS(), ".", func(name string, entry fs.DirEntry, err error) error {
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
		if all += z.Len(); bytes.Contains(page, []byte(name)) {
			named += z.Len()
		} else {
			largest = max(largest, z.Len())
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	if named == 0 || largest == 0 || named+largest > maxScript || all > maxScripts {
		t.Errorf("the page names scripts of %d bytes, gzipped, the largest other one has %d, all have %d, want at most %d for a visit and %d in all",
			named, largest, all, maxScript, maxScripts)
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
