package e2e

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/devtools"
)

// browser is a headless Chromium with one page.
type browser struct {
	*devtools.Browser
	t    *testing.T
	page string // session of the open page
}

func startBrowser(t *testing.T, chromium string) *browser {
	t.Helper()
	dir := t.TempDir()
	launch(t, "chromium", chromium, devtools.Args(dir)...)
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	b, err := devtools.Dial(ctx, dir)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = b.Close() })
	return &browser{Browser: b, t: t}
}

// call sends a command to the page.
func (b *browser) call(method string, params any) {
	b.t.Helper()
	if err := b.Call(b.page, method, params, nil); err != nil {
		b.t.Fatal(err)
	}
}

func (b *browser) open(url string) {
	b.t.Helper()
	var err error
	if b.page, err = b.Open(url); err != nil {
		b.t.Fatal(err)
	}
}

// eval runs a JavaScript expression in the page and returns its value as JSON, or what is wrong: a page that is being
// loaded cannot run any.
func (b *browser) eval(expression string) string {
	b.t.Helper()
	raw, err := b.Eval(b.page, expression)
	var refused *devtools.Refused
	switch {
	case errors.As(err, &refused):
		return refused.Message
	case err != nil:
		b.t.Fatal(err)
	}
	return string(raw)
}

// waitFor waits until the expression is true; a failure keeps a picture of the page.
func (b *browser) waitFor(what, expression string) {
	b.t.Helper()
	if !b.shows(what, expression) {
		b.t.FailNow()
	}
}

// shows is waitFor for a test that can go on without it.
func (b *browser) shows(what, expression string) bool {
	b.t.Helper()
	for p := newPatience(time.Minute); b.eval(expression) != "true"; {
		if p.over() {
			b.t.Errorf("the page does not show %s; picture in %s; text:\n%s", what, b.picture(), b.eval("document.body.innerText"))
			return false
		}
		time.Sleep(50 * time.Millisecond)
	}
	return true
}

// click presses the button with the text, clickIn the one inside an element that the selector finds.
func (b *browser) click(text string) { b.t.Helper(); b.clickIn("body", text) }

func (b *browser) clickIn(selector, text string) {
	b.t.Helper()
	b.waitFor("an enabled button "+text, fmt.Sprintf(`(() => {
		const visible = e => e.getClientRects().length > 0 && !e.disabled;
		for (const root of document.querySelectorAll(%q))
			for (const e of root.querySelectorAll('button'))
				if (visible(e) && e.innerText.trim().toLowerCase().startsWith(%q)) { e.click(); return true; }
		return false;
	})()`, selector, strings.ToLower(text)))
}

func (b *browser) picture() string {
	b.t.Helper()
	png, err := b.Picture(b.page)
	if err != nil {
		b.t.Fatal(err)
	}
	f, err := os.CreateTemp("", "wattbus-page-*.png")
	if err != nil {
		b.t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(png); err != nil {
		b.t.Fatal(err)
	}
	return f.Name()
}
