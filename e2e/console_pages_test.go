package e2e

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// consolePages are the addresses of every page, with what shows that it is there.
var consolePages = []struct{ name, hash, ready string }{
	{"overview", "#/", `!!document.querySelector('[role=grid] [role=row] a')`},
	{"network", "#/network?at=C1/C11", `document.querySelectorAll('[role=treeitem]').length > 4`},
	{"grid", "#/network?view=grid&at=S1", `document.querySelectorAll('[role=treeitem]').length > 3`},
	{"meter", "#/meter/METER?compare=1&at=2018-11-03T10:00:00Z", `!!document.querySelector('canvas') && !!document.querySelector('.explain ol li')`},
	{"meter-table", "#/meter/METER?as=table&span=month", `document.querySelectorAll('table.plain tbody tr').length > 5`},
	{"command", "#/commands/COMMAND", `!!document.querySelector('main h2')`},
	{"commands", "#/commands?new=1", `!!document.querySelector('#compose-title') && !!document.querySelector('#roll-outs-title') && !!document.querySelector('[role=table] [role=cell]')`},
	{"firmware", "#/roll-outs/ROLLOUT", `document.querySelectorAll('[aria-labelledby=meters-title] [role=row]').length > 1`},
	{"outages", "#/outages", `!!document.querySelector('#page-title')`},
	{"outage", "#/outages?id=CASE", `!!document.querySelector('#case-title') && document.querySelectorAll('[aria-labelledby=case-title] table tbody tr, [aria-labelledby=case-title] [role=row]').length > 0`},
	{"indices", "#/outages?view=indices", `document.querySelectorAll('table.plain tbody tr').length > 0`},
	{"maintenance", "#/outages?view=maintenance", `!!document.querySelector('#windows-title')`},
	{"quality", "#/quality", `document.querySelectorAll('[role=gridcell]').length > 20 && !!document.querySelector('#level-title')`},
	{"missing", "#/quality?view=missing", `!!document.querySelector('#missing-title')`},
	{"findings", "#/quality?view=findings&severity=failed", `document.querySelectorAll('[aria-labelledby=findings-title] [role=row]').length > 1`},
	{"edits", "#/quality?view=edits", `!!document.querySelector('#edits-title')`},
	{"dead-letters", "#/dead-letters", `document.querySelectorAll('[role=table] [role=row]').length > 3`},
	{"audit", "#/audit", `document.querySelectorAll('[role=table] [role=row]').length > 3`},
	{"settings", "#/settings", `!!document.querySelector('#me-title') && !!document.querySelector('[aria-labelledby=budgets-title] dd')`},
	{"about", "#/about", `document.querySelectorAll('details').length > 2`},
}

// consoleQuestions are what the console asks before it does something: on a page, behind a button. Whom it is not asked, as who wanted
// it and so may not approve it, is shown it all the same: here it is looked at, not answered.
var consoleQuestions = []struct{ name, hash, button string }{
	{"ask-disconnect", "#/meter/METER?as=table", `[aria-labelledby=commands-title] .panel-head button.warnish`},
	{"ask-disconnect-many", "#/commands?new=1&to=path&path=C2&type=disconnect", `[aria-labelledby=compose-title] .foot button`},
	{"ask-approve", "#/commands", `section.queue .decide button`},
	{"ask-cancel", "#/commands", `section.queue .acts > button:last-child`},
	{"ask-cancel-roll-out", "#/roll-outs/ROLLOUT", `.head .acts button:last-child`},
	{"ask-cause", "#/outages?id=CASE", `[aria-labelledby=case-title] dd button`},
}

// pageLook is one way to look at a page.
type pageLook struct {
	language, scheme, width string
}

// Every two of language, colours and width are seen together; WATTBUS_LOOKS=all adds the other half.
var pageLooks = [][]pageLook{
	{{"en", "light", "wide"}, {"en", "dark", "narrow"}, {"ja", "light", "narrow"}, {"ja", "dark", "wide"}},
	{{"en", "light", "narrow"}, {"en", "dark", "wide"}, {"ja", "light", "wide"}, {"ja", "dark", "narrow"}},
}

// TestConsolePages looks at every page of a system in which things go wrong: none has a fault of accessibility that axe-core can
// find, none is wider than its window, and with WATTBUS_SHOTS a picture of each is kept in that folder.
func TestConsolePages(t *testing.T) {
	t.Parallel() // it waits for things to go wrong
	chromium := need(t, "chromium")
	axe := axeCore(t)
	key, image, file := signedImage(t, t.TempDir(), 60_000)
	c := startUp(t, filepath.Join(t.TempDir(), "data"), "--faults", "--history", "192h", "--speed", "600", "--firmware-key", key)
	ids := c.faulty(t, image, file)
	b := startBrowser(t, chromium)
	b.open("http://" + c.http + "/")

	looks := pageLooks[0]
	if os.Getenv("WATTBUS_LOOKS") == "all" {
		looks = append(looks, pageLooks[1]...)
	}
	shots := os.Getenv("WATTBUS_SHOTS")
	language := ""
	for _, look := range looks {
		if look.language != language {
			language = look.language
			b.waitFor("the console", `!!document.querySelector('nav a')`)
			b.eval(fmt.Sprintf(`localStorage.setItem('wattbus-language', %q); location.reload()`, language))
			b.waitFor("the console in "+language, fmt.Sprintf(`document.documentElement.lang === %q && !!document.querySelector('nav a')`, language))
			b.eval(axe + "; true")
		}
		width := map[string]int{"wide": 1400, "narrow": 820}[look.width]
		if err := b.Size(b.page, width, 1000); err != nil {
			t.Fatal(err)
		}
		b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "prefers-color-scheme", "value": look.scheme}, {"name": "prefers-reduced-motion", "value": "reduce"}}})
		b.waitFor(look.scheme+" colours", fmt.Sprintf(`document.documentElement.dataset.theme === %q`, look.scheme))
		for _, page := range consolePages {
			what := strings.Join([]string{page.name, look.language, look.scheme, look.width}, "-")
			b.eval(fmt.Sprintf(`location.hash = %q`, ids.Replace(page.hash)))
			if !b.shows("the page "+what, page.ready) {
				continue
			}
			b.eval(`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`)
			if over := b.eval(`document.documentElement.scrollWidth - innerWidth`); !strings.HasPrefix(over, "-") && over != "0" {
				t.Errorf("%s is %s px wider than its window", what, over)
			}
			if said := b.eval(`document.body.innerText`); strings.Contains(said, "NaN") || strings.Contains(said, "undefined") {
				t.Errorf("%s says %s", what, said)
			}
			b.accessible(what)
			if shots != "" {
				b.shot(filepath.Join(shots, what+".png"))
			}
		}
		if look.language == "en" { // what it says in Japanese stands in the same places
			b.questions(look, shots, ids)
		}
	}
	b.forcedColours(ids)
	b.telephone(shots, ids)
	b.early("http://"+c.http+"/", ids)
}

// questions opens every question and looks at it as at a page.
func (b *browser) questions(look pageLook, shots string, ids *strings.Replacer) {
	b.t.Helper()
	for _, q := range consoleQuestions {
		what := strings.Join([]string{q.name, look.language, look.scheme, look.width}, "-")
		b.eval(fmt.Sprintf(`location.hash = %q`, ids.Replace(q.hash)))
		if !b.shows("the button of "+what, fmt.Sprintf(`(() => { const x = document.querySelector(%q); if (x) { x.disabled = false; x.click(); } return !!x; })()`, q.button)) ||
			!b.shows("the question "+what, `!!document.querySelector('dialog[open]')`) {
			continue
		}
		b.eval(`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`)
		b.accessibleIn("dialog[open]", what)
		if shots != "" {
			b.shot(filepath.Join(shots, what+".png"))
		}
		b.eval(`document.querySelector('dialog[open]').close()`)
		b.shows("no question", `!document.querySelector('dialog')`)
	}
}

// telephone looks at every page in a narrow window: none is wider than it, and all pages can be reached.
func (b *browser) telephone(shots string, ids *strings.Replacer) {
	b.t.Helper()
	if err := b.Size(b.page, 400, 800); err != nil {
		b.t.Fatal(err)
	}
	for _, page := range consolePages {
		b.eval(fmt.Sprintf(`location.hash = %q`, ids.Replace(page.hash)))
		if !b.shows("the page "+page.name+" on a telephone", page.ready) {
			continue
		}
		b.eval(`new Promise(r => requestAnimationFrame(() => requestAnimationFrame(r)))`)
		if said := b.eval(`[document.documentElement.scrollWidth - innerWidth, document.documentElement.scrollHeight - innerHeight,
			[...document.querySelectorAll('nav li a')].filter(a => { const r = a.getBoundingClientRect(); return r.left < 0 || r.right > innerWidth || r.bottom > innerHeight || a.scrollWidth > a.clientWidth; }).length].join(' ')`); said != `"0 0 0"` {
			b.t.Errorf("%s on a telephone: it is longer than the window by (width, height), and so many pages are out of view: %s", page.name, said)
		}
		// Buttons of a row stand beside what the row says, not over it.
		if over := b.eval(`[...document.querySelectorAll('[role=rowgroup] [role=cell]')].filter(c => c.querySelector('button')).flatMap(c => {
			const a = c.getBoundingClientRect();
			return [...c.parentElement.children].filter(o => { const r = o.getBoundingClientRect(); return o !== c && o.textContent.trim() && r.left < a.right - 1 && r.right > a.left + 1 && r.top < a.bottom - 1 && r.bottom > a.top + 1; }).map(o => o.innerText);
		}).join('; ')`); over != `""` {
			b.t.Errorf("%s on a telephone: buttons stand over %s", page.name, over)
		}
		if shots != "" {
			b.shot(filepath.Join(shots, page.name+"-telephone.png"))
		}
	}
}

// forcedColours looks at a page in the high contrast of Windows, which takes the backgrounds away but of what says that it keeps them: what
// is chosen and how grave something is are to be seen all the same.
func (b *browser) forcedColours(ids *strings.Replacer) {
	b.t.Helper()
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{{"name": "forced-colors", "value": "active"}}})
	for _, page := range consolePages {
		if page.name != "quality" {
			continue
		}
		b.eval(fmt.Sprintf(`location.hash = %q`, ids.Replace(page.hash)))
		b.shows("the page "+page.name+" in forced colours", page.ready)
		if said := b.eval(`(() => {
			const keeps = (what, n) => { const all = [...document.querySelectorAll(what)]; return all.length >= n && all.every(e => getComputedStyle(e).forcedColorAdjust === 'none'); };
			return [keeps('.segments > [aria-current=true], .segments > [aria-pressed=true]', 2), keeps('.cells [role=gridcell]', 20), keeps('nav a[aria-current=page]', 1), keeps('.segments > :not([aria-current=true], [aria-pressed=true])', 1)].join(' ');
		})()`); said != `"true true true false"` {
			b.t.Errorf("forced colours: what is chosen, grades, the page, what is not chosen: %s", said)
		}
	}
	b.call("Emulation.setEmulatedMedia", map[string]any{"features": []map[string]string{}})
}

// early loads some pages and checks that each takes all that the document asked for before its scripts were there: what is asked for in
// other words is asked for twice.
func (b *browser) early(url string, ids *strings.Replacer) {
	b.t.Helper()
	b.call("Page.enable", nil)
	b.call("Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": `Object.defineProperty(globalThis, 'wattbusEarly', {get() { return this.early; }, set(m) { if (m) [this.early, this.asked] = [m, m.size]; }})`})
	for _, page := range consolePages {
		switch page.name {
		case "overview", "network", "grid", "meter", "command", "commands", "outages", "audit":
			b.call("Page.navigate", map[string]any{"url": "about:blank"})
			b.call("Page.navigate", map[string]any{"url": url + ids.Replace(page.hash)})
			if b.shows("the page "+page.name+" from its beginning", page.ready) && b.eval(`asked > 1 && early.size === 0`) != "true" {
				b.t.Errorf("the page %s did not take of what was asked for early: %s", page.name, b.eval(`[...early.keys()].join(' ')`))
			}
		}
	}
}

// faulty waits until enough has gone wrong to be looked at, asks for some things, and returns what stands for METER, COMMAND, ROLLOUT and
// CASE in addresses.
func (c *centre) faulty(t *testing.T, image, file string) *strings.Replacer {
	t.Helper()
	const meters = 494
	c.completeUpTo(t, t0.Add(8*24*time.Hour), meters*8*48, 180*time.Second)
	ids := c.meterIDs(t, meters)
	ask := func(r api.CommandRequest) api.Command {
		t.Helper()
		cmd, err := c.api.CreateCommand(t.Context(), r)
		if err != nil {
			t.Fatal(err)
		}
		return cmd
	}
	read := ask(api.CommandRequest{Type: api.CommandRead, Target: api.Target{Path: "C2"}, ExpiresIn: 600})
	ask(api.CommandRequest{Type: api.CommandPing, Target: api.Target{Meter: ids[0]}, ExpiresIn: 60})
	ask(api.CommandRequest{Type: api.CommandDisconnect, Target: api.Target{Path: "C1"}, ExpiresIn: 3600}) // has to be approved
	c.upload(t, file)
	if _, err := c.api.CreateRollOut(t.Context(), api.RollOutRequest{Image: image, Target: api.Target{Path: "C2"}}); err != nil { // has to be approved
		t.Fatal(err)
	}
	rollOut, err := c.api.CreateRollOut(t.Context(), api.RollOutRequest{Image: image, Target: api.Target{Path: "C1/C11"}, Rate: 3000, OnCommand: true})
	if err != nil {
		t.Fatal(err)
	}
	var worst api.Outage
	eventually(t, 120*time.Second, func() string {
		ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
		defer cancel()
		cases, err := c.api.OutagesOf(ctx, api.OutageQuery{Kinds: []string{"power-lost"}}, 0)
		if err != nil {
			return err.Error()
		}
		for _, o := range cases {
			if o.Affected > worst.Affected {
				worst = o
			}
		}
		letters, err := c.api.Totals(ctx)
		findings, ferr := c.api.Findings(ctx, api.FindingQuery{Severity: "failed"}, 10)
		switch {
		case err != nil || ferr != nil:
			return fmt.Sprint(err, ferr)
		case worst.Scope != "feeder" || letters.DeadLetters < 5 || len(findings) == 0:
			return fmt.Sprintf("the greatest outage is of %d meters (%s), %d dead letters, %d findings", worst.Affected, worst.Scope, letters.DeadLetters, len(findings))
		}
		return ""
	})
	return strings.NewReplacer("METER", ids[0], "COMMAND", read.ID, "ROLLOUT", rollOut.ID, "CASE", worst.ID)
}
