package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// interaction is something that people do: the page that it is done on, the input as the browser gets it from mouse and keyboard, what shows
// that it was heard, and what shows that what it asked for is there.
type interaction struct {
	name       string
	page       benchPage
	before     string // a script that comes before the input
	click      string // on the element that the script finds
	wheel      int    // pixels, over it
	keys       string
	seen, done string
}

const (
	gridRows   = `[...document.querySelectorAll('[role=grid] .all [role=row]')]`
	gridScroll = `document.querySelector('[role=grid] .scroll')`
	toCommands = `document.querySelector('nav a[href="#/commands"]')`
	toOverview = `document.querySelector('nav li a[href="#/"]')`
)

var interactions = []interaction{
	{name: "list: scroll by a screen", page: benchPages[0], before: `window.__f = ` + gridRows + `[0].id`, click: gridScroll, wheel: 900,
		seen: gridScroll + `.scrollTop > 0`,
		done: `(() => { const s = ` + gridScroll + `.getBoundingClientRect(), r = ` + gridRows + `.map(x => x.getBoundingClientRect()); return ` + gridRows + `[0]?.id !== __f && r.some(x => x.top <= s.top) && r.some(x => x.bottom >= s.bottom); })()`},
	{name: "list: scroll to the next page of it", page: benchPages[0], before: `window.__h = ` + gridScroll + `.scrollHeight`, click: gridScroll, wheel: 100_000,
		seen: gridScroll + `.scrollTop > 0`, done: gridScroll + `.scrollHeight > __h`},
	{name: "list: only disconnected ones", page: benchPages[0], click: `document.querySelector('a.chip[href*="state=disconnected"]')`,
		seen: `!!document.querySelector('a.chip[aria-current]')`,
		done: `(() => { const r = ` + gridRows + `; return r.length > 0 && r.every(x => /Disconnected/.test(x.innerText)); })()`},
	{name: "list: only those of a concentrator", page: benchPages[0], click: `document.querySelectorAll('[role=treeitem]')[3]`,
		seen: `document.querySelectorAll('[role=treeitem]')[3].getAttribute('aria-selected') === 'true'`,
		done: `(() => { const p = new URLSearchParams(location.hash.split('?')[1]).get('path'), r = [...document.querySelectorAll('[role=grid] .all [role=row] .path')]; return !!p && r.length > 0 && r.every(x => x.innerText === p); })()`},
	{name: "list: search by a part of an id", page: benchPages[0], before: `document.querySelector('input[type=search]').focus()`, keys: "7-77",
		seen: `document.querySelector('input[type=search]').value === '7-77'`,
		done: `(() => { const r = [...document.querySelectorAll('[role=grid] .all [role=row] a')]; return r.length > 0 && r.every(x => x.innerText.includes('7-77')); })()`},
	{name: "tree: open a concentrator", page: benchPages[1], click: `document.querySelectorAll('[role=treeitem]')[1].querySelector('.twist')`,
		seen: `document.querySelectorAll('[role=treeitem]')[1].getAttribute('aria-expanded') === 'true'`,
		done: `[...document.querySelectorAll('[role=treeitem]')].some(x => /C\d+-\d+/.test(x.innerText))`},
	{name: "tree: open a substation", page: benchPages[2], click: `document.querySelectorAll('[role=treeitem]')[1].querySelector('.twist')`,
		seen: `document.querySelectorAll('[role=treeitem]')[1].getAttribute('aria-expanded') === 'true'`,
		done: `[...document.querySelectorAll('[role=treeitem]')].some(x => /F\d\d\d/.test(x.innerText))`},
	{name: "another page: commands", page: benchPages[0], click: toCommands, seen: toCommands + `.hasAttribute('aria-current')`, done: benchPages[4].ready},
	{name: "another page: a meter", page: benchPages[0], click: `document.querySelector('[role=grid] .all [role=row] a')`,
		seen: `!!document.querySelector('main h2') && !document.querySelector('[role=grid]')`, done: benchPages[3].ready},
	{name: "another page: overview", page: benchPages[4], click: toOverview, seen: toOverview + `.hasAttribute('aria-current')`, done: benchPages[0].ready},
}

// effects are when an input had its effects, ms from it.
type effects struct {
	heard float64 // the frame that shows that it was heard
	shown float64 // the frame that shows what it asked for, the centre's answers included
	main  float64 // processor time of the page's main thread until then
}

// interactions measures them while events come.
func (b *consoleBench) interactions(ctx context.Context, t *tab) error {
	for i, x := range interactions {
		var heard, shown times
		var slow slowest
		var main times
		for range b.loads {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.progress.update(int64(i), int64(len(interactions)), "interactions")
			e, slowest, err := b.interact(ctx, t, x)
			if err != nil && !errors.Is(err, errNotThere) {
				return fmt.Errorf("%s: %w", x.name, err)
			}
			heard.add(e.heard, err)
			shown.add(e.shown, err)
			main.add(e.main, nil)
			if slowest.MS > slow.MS {
				slow = slowest
			}
		}
		b.several("heard: "+x.name, heard, interactLimit)
		whole := b.figureOf("shown: "+x.name, shown, paintLimit)
		whole.Main, whole.Server = b.figureOf("", main, 0).Value, slow.MS
		if whole.Note == "" {
			whole.Note = slow.Of
		}
		b.row(whole)
	}
	return nil
}

// settled is how long nothing is asked for until what came with a page is over.
const settled = 700 * time.Millisecond

// interact does it once, on a page that is loaded for it.
func (b *consoleBench) interact(ctx context.Context, t *tab, x interaction) (e effects, slow slowest, err error) {
	if _, err := b.load(t, x.page); err != nil {
		return e, slow, err
	}
	if err := b.pause(ctx, settled); err != nil {
		return e, slow, err
	}
	if _, err := t.number(fmt.Sprintf(`__until(() => Math.max(0, ...performance.getEntriesByType('resource').map(e => e.responseEnd || performance.now())) < performance.now() - %d)`, settled.Milliseconds())); err != nil {
		return e, slow, awaited(err)
	}
	before, err := t.Metrics(t.session)
	if err != nil {
		return e, slow, err
	}
	if _, err := t.number(`(() => { performance.clearResourceTimings(); ` + x.before + `; __input(() => ` + x.seen + `, () => ` + x.done + `); return 0; })()`); err != nil {
		return e, slow, awaited(err)
	}
	switch {
	case x.keys != "":
		err = t.Type(t.session, x.keys)
	case x.wheel != 0:
		err = t.Wheel(t.session, x.click, x.wheel)
	default:
		err = t.Click(t.session, x.click)
	}
	if err != nil {
		return e, slow, awaited(err)
	}
	// An event's own duration is told a frame later. Those below the least that is told have none.
	raw, err := t.Eval(t.session, `__effects.then(([seen, done]) => __until(() => true).then(() => __until(() => true)).then(() => [Math.max(seen, ...__events), done, __slowest()]))`)
	if err != nil {
		return e, slow, awaited(err)
	}
	if err := json.Unmarshal(raw, &[]any{&e.heard, &e.shown, &slow}); err != nil {
		return e, slow, fmt.Errorf("%s: %s: %w", x.name, raw, err)
	}
	after, err := t.Metrics(t.session)
	e.main = 1000 * (after["TaskDuration"] - before["TaskDuration"])
	return e, slow, err
}
