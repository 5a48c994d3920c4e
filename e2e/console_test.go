package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// TestConsole works with the console as people do: one asks for a disconnection of many, another approves it, a value is
// explained, and all pages are reached by keyboard alone.
func TestConsole(t *testing.T) {
	began := time.Now()
	lap := func(what string) { t.Logf("%-22s %.1f s", what, time.Since(began).Seconds()) }
	chromium := need(t, "chromium")
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	alice, bob := person(t, tokens, "alice", "operate,edit"), person(t, tokens, "bob", "approve,edit")
	const meters = 100
	key, image, file := signedImage(t, dir, 20_000)
	c := startUp(t, filepath.Join(dir, "data"), "--meters", fmt.Sprint(meters), "--tokens", tokens, "--speed", "600", "--firmware-key", key)
	var err error
	if c.api, err = apiclient.New(apiclient.Options{Server: "http://" + c.http, Token: alice}); err != nil {
		t.Fatal(err)
	}
	c.completeUpTo(t, t0.Add(45*24*time.Hour), meters*45*48, 180*time.Second)
	ids := c.meterIDs(t, meters)

	lap("collected")
	b := startBrowser(t, chromium)
	b.open("about:blank")
	b.as(c, alice, "#/meter/"+ids[0])
	b.waitFor("the meter's register", `!!document.querySelector('.reading')`)
	register := b.eval(`document.querySelector('.reading').innerText`)
	b.waitFor("a reading that arrives", `document.querySelector('.reading').innerText !== `+register)

	lap("a reading arrived")
	// A question keeps the focus and gives it back.
	b.waitFor("the button", `[...document.querySelectorAll('main button')].some(x => /^Disconnect/.test(x.innerText.trim()) && !x.disabled)`)
	b.tabTo("Tab", "the button", `e.matches('main button') && /^Disconnect/.test(e.innerText.trim())`)
	b.press("Enter")
	b.waitFor("the question", `!!document.querySelector('dialog[open]')`)
	for range 10 {
		b.press("Tab")
		if at := b.eval(`!!document.activeElement.closest('dialog') || document.activeElement === document.body`); at != "true" {
			t.Errorf("the focus left the question: %s", b.eval(`document.activeElement.outerHTML`))
		}
	}
	b.press("Escape")
	b.waitFor("that the focus is where it was", `!document.querySelector('dialog[open]') && /^Disconnect/.test(document.activeElement.innerText.trim())`)
	// A value is explained without a mouse.
	b.waitFor("the chart", `!!document.querySelector('.chart') && !!document.querySelector('canvas')`)
	b.tabTo("Shift+Tab", "the chart", `e.matches('.chart')`)
	for _, key := range []string{"End", "ArrowLeft", "Enter"} {
		b.press(key)
	}
	b.waitFor("the explanation of a value", `!!document.querySelector('.explain ol li')`)

	// alice asks for more than one person may do; she cannot approve it, bob can.
	b.as(c, alice, "#/commands?new=1&to=list&type=disconnect&list="+strings.Join(ids, ","))
	b.click("Review")
	b.waitFor("a question that names how many", `document.querySelector('dialog[open]')?.innerText.includes('100 meters')`)
	b.waitFor("that the number has to be typed", `document.querySelector('dialog[open] button.danger').disabled`)
	b.eval(`(() => { const f = document.querySelector('dialog[open] input'); f.value = '100'; f.dispatchEvent(new Event('input', {bubbles: true})); })()`)
	b.clickIn("dialog[open]", "Disconnect")
	b.waitFor("that it needs approval", `/needs approval/i.test(document.body.innerText) && /another person decides/i.test(document.body.innerText)`)
	b.as(c, bob, "#/commands")
	b.waitFor("what waits", `!!document.querySelector('section.queue li a')`)
	asked := b.eval(`document.querySelector('section.queue li a').getAttribute('href')`)
	b.clickIn("section.queue", "Approve")
	b.clickIn("dialog[open]", "Approve")
	b.waitFor("that nothing waits", `!document.querySelector('section.queue')`)
	b.eval(`location.hash = ` + asked)
	b.waitFor("that all are done", `/100 Done/.test(document.querySelector('main').innerText)`)
	if m, err := c.api.Meter(t.Context(), ids[len(ids)-1]); err != nil || m.State != api.StateDisconnected {
		t.Fatalf("after the approval: %+v, %v", m, err)
	}

	lap("approved")
	b.rollOut(c, alice, bob, image, file)
	lap("rolled out")
	b.as(c, bob, "#/")
	b.waitFor("the overview", consolePages[0].ready)
	// Backwards to the page behind, forwards to the page before: each way leads through all of the page that is open.
	for _, way := range []struct {
		key   string
		pages []string
	}{{"Shift+Tab", []string{"#/network", "#/commands", "#/outages", "#/quality"}}, {"Tab", []string{"#/about", "#/settings", "#/audit", "#/dead-letters", "#/"}}} {
		for _, page := range way.pages {
			b.tabTo(way.key, page, fmt.Sprintf(`e.getAttribute('href') === %q && !!e.closest('nav')`, page))
			b.press("Enter")
			b.waitFor("the page "+page+", by keyboard", fmt.Sprintf(`location.hash === %q && document.querySelector('nav a[aria-current=page]')?.getAttribute('href') === %q && !!document.querySelector('main .panel')`, page, page))
		}
	}

	lap("all pages by keyboard")
}

// person gives a person a token with rights, in a file of tokens, and returns it.
func person(t *testing.T, tokens, name, rights string) string {
	t.Helper()
	p := launch(t, "token", wattbus, "token", tokens, name, "--rights", rights)
	p.done <- <-p.done // whoever stops it waits for it, too
	lines := strings.Fields(p.out.String())
	if len(lines) == 0 {
		t.Fatalf("no token for %s", name)
	}
	return lines[len(lines)-1]
}

// TestConsoleAsked looks at what the console asks where people have tokens: for the token, and whether to approve an edit that another
// person proposed.
func TestConsoleAsked(t *testing.T) {
	t.Parallel() // it waits for the history
	chromium := need(t, "chromium")
	axe := axeCore(t)
	dir := t.TempDir()
	tokens := filepath.Join(dir, "tokens")
	alice, bob := person(t, tokens, "alice", "edit"), person(t, tokens, "bob", "approve,edit")
	const meters, days = 10, 2
	c := startUp(t, filepath.Join(dir, "data"), "--meters", fmt.Sprint(meters), "--history", fmt.Sprint(days*24, "h"), "--tokens", tokens)
	var err error
	if c.api, err = apiclient.New(apiclient.Options{Server: "http://" + c.http, Token: alice}); err != nil {
		t.Fatal(err)
	}
	c.completeUpTo(t, t0.Add(days*24*time.Hour), meters*days*48, 90*time.Second)
	_, err = c.api.ProposeEdit(t.Context(), api.EditRequest{Meter: c.meterIDs(t, meters)[0], From: t0.Add(10 * time.Hour), To: t0.Add(11 * time.Hour), Action: "estimate", Reason: "meter-fault"})
	if err != nil {
		t.Fatal(err)
	}

	b := startBrowser(t, chromium)
	looks := func(what string) {
		t.Helper()
		b.waitFor(what, `!!document.querySelector('dialog[open]')`)
		b.eval(axe + "; true")
		for _, scheme := range []string{"light", "dark"} {
			b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}})
			b.waitFor(scheme+" colours", fmt.Sprintf(`document.documentElement.dataset.theme === %q`, scheme))
			b.accessibleIn("dialog[open]", what+", "+scheme)
			if shots := os.Getenv("WATTBUS_SHOTS"); shots != "" {
				b.shot(filepath.Join(shots, what+"-"+scheme+".png"))
			}
		}
	}
	b.open("http://" + c.http + "/")
	looks("ask-token")
	b.as(c, bob, "#/quality?view=edits")
	b.clickIn("[aria-labelledby=edits-title]", "Approve")
	looks("ask-approve-edit")
	b.clickIn("dialog[open]", "Back")
	b.waitFor("that nothing is asked", `!document.querySelector('dialog[open]')`)
}

// rollOut has alice roll an image out, bob approve it, and alice pause, resume and cancel it, all of it seen as it goes.
func (b *browser) rollOut(c *centre, alice, bob, image, file string) {
	b.t.Helper()
	c.upload(b.t, file)
	r, err := c.api.CreateRollOut(b.t.Context(), api.RollOutRequest{Image: image, Target: api.Target{Query: &api.TargetQuery{State: api.StateDisconnected}}, BlockSize: 64, Rate: 2000, OnCommand: true})
	if err != nil {
		b.t.Fatal(err)
	}
	card, here := "[aria-labelledby=roll-outs-title] li", `document.querySelector('main h2 + .tag')?.innerText.includes(%q)`
	b.as(c, alice, "#/commands")
	b.waitFor("that its author cannot approve it", fmt.Sprintf(`(() => { const x = [...document.querySelectorAll('%s button')]; return x.length === 3 && x[0].disabled && x[0].innerText === 'Approve'; })()`, card))
	b.as(c, bob, "#/commands")
	b.clickIn(card, "Approve")
	b.clickIn("dialog[open]", "Approve")
	b.waitFor("that it is under way", fmt.Sprintf(`/Under way/.test(document.querySelector('%s').innerText) && /Downloading/.test(document.querySelector('%s').innerText)`, card, card))
	b.as(c, alice, "#/roll-outs/"+r.ID)
	b.waitFor("meters that receive it, as it goes", `document.querySelectorAll('[aria-labelledby=meters-title] [role=row]').length > 5 && !/ 0.00 %/.test(document.querySelector('[aria-labelledby=way-title]').innerText)`)
	b.clickIn(".head", "Pause")
	b.waitFor("that it is paused", fmt.Sprintf(here, "Paused"))
	b.clickIn(".head", "Go on")
	b.waitFor("that it goes on", fmt.Sprintf(here, "Under way"))
	b.clickIn(".head", "Cancel")
	b.clickIn("dialog[open]", "Cancel the roll-out")
	b.waitFor("that it is cancelled, all meters of it, and how it came to that", fmt.Sprintf(here+` && /100 Cancelled/.test(document.querySelector('main').innerText) && /cancelled by alice/.test(document.querySelector('[aria-labelledby=history-title]').innerText)`, "Cancelled"))
}

// accessible has axe-core look at the page, with all rules of WCAG 2.2 AA; accessibleIn at what a selector finds.
func (b *browser) accessible(what string) { b.t.Helper(); b.accessibleIn("html", what) }

func (b *browser) accessibleIn(selector, what string) {
	b.t.Helper()
	patience := b.Patience
	b.Patience = 2 * time.Minute // it looks at every element, on a machine that may be busy
	defer func() { b.Patience = patience }()
	said := b.eval(fmt.Sprintf(`axe.run(document.querySelector(%q), {resultTypes: ['violations'], preload: false, iframes: false, runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa']}).then(r =>
		r.violations.map(v => ({id: v.id, where: v.nodes[0].target.join(' '), why: v.nodes[0].failureSummary})))`, selector))
	var found []struct{ ID, Where, Why string }
	if err := json.Unmarshal([]byte(said), &found); err != nil {
		b.t.Fatalf("axe on %s: %s", what, said)
	}
	for _, v := range found {
		b.t.Errorf("%s: %s at %s: %s", what, v.ID, v.Where, v.Why)
	}
}

// axeCore is the text of axe-core, from the console's own node_modules or those of WATTBUS_CONSOLE_MODULES.
func axeCore(t *testing.T) string {
	t.Helper()
	modules := os.Getenv("WATTBUS_CONSOLE_MODULES")
	if modules == "" {
		modules = filepath.Join("..", "web", "console", "node_modules")
	}
	text, err := os.ReadFile(filepath.Join(modules, "axe-core", "axe.min.js"))
	if err == nil {
		return string(text)
	}
	if os.Getenv("WATTBUS_CI") != "" {
		t.Fatal(err)
	}
	t.Skipf("axe-core is not there (npm ci in web/console): %v", err)
	return ""
}

// as opens the console anew as the person with a token.
func (b *browser) as(c *centre, token, hash string) {
	b.t.Helper()
	b.call("Page.navigate", map[string]any{"url": "http://" + c.http + "/favicon.svg"}) // of the same origin, without the console
	b.waitFor("the origin", fmt.Sprintf(`location.host === %q && (sessionStorage.setItem('wattbus-token', %q), true)`, c.http, token))
	b.call("Page.navigate", map[string]any{"url": "http://" + c.http + "/" + hash})
	b.waitFor("the live link", `!!document.querySelector('header .link') && /live/i.test(document.querySelector('header .link').innerText)`)
}

var keys = map[string]struct {
	code int
	text string
}{"Tab": {9, ""}, "Enter": {13, "\r"}, "End": {35, ""}, "ArrowLeft": {37, ""}, "Escape": {27, ""}}

// press presses a key, with Shift if it says so, and lets it go.
func (b *browser) press(key string) {
	b.t.Helper()
	modifiers := 0
	if plain, ok := strings.CutPrefix(key, "Shift+"); ok {
		key, modifiers = plain, 8
	}
	k := keys[key]
	down := map[string]any{"type": "keyDown", "key": key, "code": key, "windowsVirtualKeyCode": k.code, "modifiers": modifiers}
	if k.text != "" {
		down["text"] = k.text
	}
	b.call("Input.dispatchKeyEvent", down)
	b.call("Input.dispatchKeyEvent", map[string]any{"type": "keyUp", "key": key, "code": key, "windowsVirtualKeyCode": k.code})
}

// tabTo presses Tab, or Shift and Tab, until what is wanted has the focus: wanted is an expression of e, an element. Whatever has the
// focus on the way is seen, behind nothing, and shows that it has it. (WCAG 2.2, 2.4.7 and 2.4.11)
func (b *browser) tabTo(key, what, wanted string) {
	b.t.Helper()
	stops := 0
	for range 300 {
		b.press(key)
		said := b.eval(`(() => {
			const e = document.activeElement;
			if (!e || e === document.body) return '';
			if (` + wanted + `) return 'here';
			const r = e.getBoundingClientRect(), s = getComputedStyle(e);
			const seen = [[.5, .5], [.1, .2], [.9, .2], [.1, .8], [.9, .8]].some(([x, y]) => {
				const at = document.elementFromPoint(r.left + r.width * x, r.top + r.height * y);
				return at && (e.contains(at) || at.contains(e));
			});
			const ring = s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) > 0 || e.matches('[type^=date]'); // whose parts show it
			return seen && ring ? 'on' : (seen ? 'it does not show the focus: ' : 'it is not seen: ') + e.outerHTML.slice(0, 200);
		})()`)
		switch said {
		case `"here"`:
			b.t.Logf("%s to %s: %d stops", key, what, stops)
			return
		case `"on"`:
			stops++
		case `""`: // between the end of the page and its beginning
		default:
			b.t.Errorf("on the way to %s: %s", what, said)
		}
	}
	b.t.Fatalf("no %s leads to %s; text:\n%s", key, what, b.eval("document.activeElement.outerHTML"))
}

// shot keeps a picture of the page.
func (b *browser) shot(file string) {
	b.t.Helper()
	png, err := b.Picture(b.page)
	if err != nil {
		b.t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		b.t.Fatal(err)
	}
	if err := os.WriteFile(file, png, 0o644); err != nil {
		b.t.Fatal(err)
	}
}
