package cli

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"github.com/wattbus/wattbus/internal/child"
	"github.com/wattbus/wattbus/internal/devtools"
)

// The limits of the console, and those of a tab.
const (
	paintLimit    = 1000 // ms
	interactLimit = 100  // ms
	tabLimit      = 200  // MB

	patience = 20 * time.Second // for what a page has to show
)

// benchPage is a page of the console, and what shows that it has what it is about.
type benchPage struct{ name, hash, ready string }

var benchPages = []benchPage{
	{"overview", "#/", `document.querySelectorAll('[role=grid] [role=row] a').length > 5 && document.querySelectorAll('[role=treeitem]').length > 5`},
	{"network, over the bus", "#/network", `document.querySelectorAll('[role=treeitem]').length > 5`},
	{"network, the grid", "#/network?view=grid", `document.querySelectorAll('[role=treeitem]').length > 5`},
	{"meter", "#/meter/C1-1", `!!document.querySelector('canvas') && !!document.querySelector('.reading')`},
	{"commands", "#/commands", `!!document.querySelector('#page-title') && !document.querySelector('main .dots')`},
	{"outages", "#/outages", `!!document.querySelector('#page-title')`},
	{"data quality", "#/quality", `document.querySelectorAll('[role=gridcell]').length > 20 && !!document.querySelector('#level-title')`},
	{"audit", "#/audit", `document.querySelectorAll('[role=table] [role=row]').length > 1`},
}

// onePage has a word, and nothing else to get.
var onePage = benchPage{"a page of one word, without the console", "healthz", `document.body?.innerText.length > 0`}

// watchScript runs before the page's own: it notes when the page has what it is about, and tasks that hold it up.
const watchScript = `(() => {
	window.__tasks = [];
	new PerformanceObserver(l => l.getEntries().forEach(e => window.__tasks.push(e.duration))).observe({type: 'longtask', buffered: true});
	window.__events = []; // what took from an input to the frame behind it, ms
	new PerformanceObserver(l => l.getEntries().forEach(e => e.interactionId && window.__events.push(e.duration))).observe({type: 'event', durationThreshold: 16});
	window.__until = (done, within = 20000) => new Promise((resolve, reject) => {
		const began = performance.now();
		const look = () => {
			// It is in the document before this frame is drawn; the message comes behind that.
			if (done()) { const c = new MessageChannel(); c.port1.onmessage = () => resolve(performance.now()); c.port2.postMessage(0); }
			else if (performance.now() - began > within) reject(new Error('not within ' + within + ' ms: ' + done));
			else requestAnimationFrame(look);
		};
		requestAnimationFrame(look);
	});
	window.__input = (seen, done) => { // the next input, and when its effects are there
		let began = 0;
		const types = ['pointerdown', 'keydown', 'wheel'];
		const note = e => { began = e.timeStamp; };
		types.forEach(x => addEventListener(x, note, true));
		window.__events.length = 0;
		const after = (what, within) => window.__until(() => began > 0 && what(), within).then(at => at - began);
		window.__effects = Promise.all([after(seen), after(done)]).finally(() => types.forEach(x => removeEventListener(x, note, true)));
		window.__effects.catch(() => {});
	};
	// The slowest answer of the API until now: what the centre itself took.
	window.__slowest = () => performance.getEntriesByType('resource').reduce((most, e) => e.name.includes('/v1/') && e.serverTiming?.[0]?.duration > (most?.ms ?? 0) ? {ms: e.serverTiming[0].duration, of: e.name.replace(location.origin, '').slice(0, 60)} : most, null) ?? {ms: 0, of: ''};
})()`

// tab is the page that is measured.
type tab struct {
	*devtools.Browser
	session string
}

// number evaluates an expression that is a number.
func (t *tab) number(expression string) (float64, error) {
	raw, err := t.Eval(t.session, expression)
	if err != nil {
		return 0, err
	}
	var v float64
	if err := json.Unmarshal(raw, &v); err != nil {
		return 0, fmt.Errorf("%.80s: %s is no number", expression, raw)
	}
	return v, nil
}

// inBrowser measures paint, interactions, and a tab that is open for long.
func (b *consoleBench) inBrowser(ctx context.Context) (err error) {
	dir := filepath.Join(b.dir, "chromium")
	if err := os.Mkdir(dir, 0o700); err != nil {
		return err
	}
	chromium, err := child.Start(ctx, "chromium", child.Find("chromium"), append([]string{"--enable-precise-memory-info"}, devtools.Args(dir)...)...)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, chromium.Kill()) }() // it has nothing to put in order
	dialing, cancel := context.WithTimeout(ctx, 30*time.Second)
	defer cancel()
	browser, err := devtools.Dial(dialing, dir)
	if err != nil {
		return err
	}
	defer func() { _ = browser.Close() }()
	browser.Patience = 3 * patience // of a page that is held up
	t := &tab{Browser: browser}
	if t.session, err = browser.Open("about:blank"); err != nil {
		return err
	}
	if err := t.MeasureThread(t.session); err != nil {
		return err
	}
	for _, call := range []struct {
		method string
		params any
	}{{"Page.enable", nil}, {"Network.enable", nil}, {"Network.setCacheDisabled", map[string]any{"cacheDisabled": true}},
		{"Page.addScriptToEvaluateOnNewDocument", map[string]any{"source": watchScript}}} {
		if err := browser.Call(t.session, call.method, call.params, nil); err != nil {
			return err
		}
	}
	for _, step := range []func(context.Context, *tab) error{b.paints, b.interactions, b.long} {
		if err := step(ctx, t); err != nil {
			return err
		}
	}
	return nil
}

// errNotThere is that a page does not show what it has to within patience.
var errNotThere = errors.New("not there")

// awaited turns what a page refuses, patience that is over included, into errNotThere. What is left is that the browser cannot be asked.
func awaited(err error) error {
	var refused *devtools.Refused
	if errors.As(err, &refused) {
		return fmt.Errorf("%w: %s", errNotThere, refused.Message)
	}
	return err
}

// loadedPage is how soon a page was there, ms from the request for it.
type loadedPage struct {
	paint, ready float64
	main         float64 // processor time of its main thread until it was ready
	slowest      slowest
}

// slowest is the answer that the centre took longest for, by its own clock.
type slowest struct {
	MS float64 `json:"ms"`
	Of string  `json:"of"`
}

// load opens a page anew and says when it had its first paint and when it had what it is about. Where it lacks that, the error is errNotThere.
func (b *consoleBench) load(t *tab, p benchPage) (l loadedPage, err error) {
	if err := t.Call(t.session, "Page.navigate", map[string]any{"url": "about:blank"}, nil); err != nil {
		return l, err
	}
	before, err := t.Metrics(t.session)
	if err != nil {
		return l, err
	}
	if err := t.Call(t.session, "Page.navigate", map[string]any{"url": "http://" + b.http + "/" + p.hash}, nil); err != nil {
		return l, err
	}
	for deadline := time.Now().Add(patience); ; { // until the new document runs
		l.ready, err = t.number(`location.host === ` + strconv.Quote(b.http) + ` && !!window.__until ? __until(() => ` + p.ready + `) : 0`)
		if err == nil && l.ready > 0 {
			break
		}
		if err != nil && !errors.Is(awaited(err), errNotThere) {
			return l, err
		}
		if time.Now().After(deadline) {
			if err == nil {
				err = errNotThere
			}
			l.ready = float64(patience.Milliseconds())
			break
		}
		time.Sleep(5 * time.Millisecond)
	}
	notReady := awaited(err)
	after, err := t.Metrics(t.session)
	if err != nil {
		return l, err
	}
	if l.main = 1000 * (after["TaskDuration"] - before["TaskDuration"]); l.main < 0 {
		l.main = 1000 * after["TaskDuration"] // of a process of its own
	}
	raw, err := t.Eval(t.session, `__slowest()`)
	if err == nil {
		err = json.Unmarshal(raw, &l.slowest)
	}
	if err = awaited(err); err != nil && !errors.Is(err, errNotThere) {
		return l, err
	}
	l.paint, err = t.number(`__until(() => performance.getEntriesByName('first-contentful-paint').length > 0, 1000).then(() => performance.getEntriesByName('first-contentful-paint')[0].startTime)`)
	if err = awaited(err); errors.Is(err, errNotThere) {
		l.paint, err = float64(patience.Milliseconds()), nil
	}
	return l, errors.Join(err, notReady)
}

// answersOf are the questions that the pages put to the API, by page.
var answersOf = []struct{ page, path string }{
	{"every page", "/v1/totals"}, {"every page", "/v1/concentrators?limit=1000"}, {"every page", "/v1/commands?limit=100"},
	{"every page", "/v1/commands?open=true&limit=1000"}, {"every page", "/v1/outages?limit=100"},
	{"overview", "/v1/meters?limit=100"}, {"overview", "/v1/meters?limit=100&state=disconnected"}, {"overview", "/v1/meters?limit=100&state=comm-lost"},
	{"overview", "/v1/meters?limit=100&path=C7"}, {"overview", "/v1/meters?limit=100&q=7-77"},
	{"network", "/v1/completeness/hours?by=concentrator&limit=100"}, {"network", "/v1/completeness/hours?by=transformer&limit=100"},
	{"network", "/v1/sums?by=substation&limit=200"}, {"network", "/v1/sums?by=feeder&substation=S01&limit=200"}, {"network", "/v1/sums?by=transformer&feeder=F021&limit=200"},
	{"network", "/v1/usage-points?transformer=F021-T0&limit=200"},
	{"meter", "/v1/meters/C1-1"}, {"meter", "/v1/meters/C1-1/readings?limit=1000"}, {"meter", "/v1/meters/C1-1/paths?limit=20"}, {"meter", "/v1/usage-points/U1"},
	{"data quality", "/v1/service-level"}, {"data quality", "/v1/completeness"}, {"data quality", "/v1/completeness/by?by=age"}, {"data quality", "/v1/missing?limit=100"},
}

// answers measures what the API takes for what the pages ask, without a browser. They have no limit of their own: it is the pages' that counts.
func (b *consoleBench) answers(ctx context.Context) error {
	for _, a := range answersOf {
		var all times
		for range max(b.loads, 3) {
			began := time.Now()
			err := b.fetch(ctx, a.path)
			if ctx.Err() != nil {
				return ctx.Err()
			}
			all.add(float64(time.Since(began).Microseconds())/1000, err)
			if err := b.pause(ctx, 100*time.Millisecond); err != nil {
				return err
			}
		}
		b.several(fmt.Sprintf("answer, %s: %s", a.page, a.path), all, 0)
	}
	return nil
}

// fetch reads an answer of the API.
func (b *consoleBench) fetch(ctx context.Context, path string) error {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+b.http+path, nil)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s: %s", path, resp.Status)
	}
	return err
}

// times are those of one thing that is done several times.
type times struct {
	ms     []float64
	failed int
	why    error
}

// add takes a time, or that what was waited for did not come; then patience counts.
func (x *times) add(ms float64, err error) {
	if err != nil {
		ms, x.failed, x.why = float64(patience.Milliseconds()), x.failed+1, err
	}
	x.ms = append(x.ms, ms)
}

// paints measures how soon each page is there.
func (b *consoleBench) paints(ctx context.Context, t *tab) error {
	// What a page without anything takes is the browser's and the machine's.
	var word times
	for range b.loads {
		l, err := b.load(t, onePage)
		if err != nil && !errors.Is(err, errNotThere) {
			return fmt.Errorf("the page %s: %w", onePage.name, err)
		}
		word.add(l.paint, err)
	}
	b.several("first paint: "+onePage.name, word, 0)
	for i, p := range benchPages {
		var paints, readies times
		var main []float64
		var slow slowest
		for range b.loads {
			if ctx.Err() != nil {
				return ctx.Err()
			}
			b.progress.update(int64(i), int64(len(benchPages)), "pages loaded")
			l, err := b.load(t, p)
			if err != nil && !errors.Is(err, errNotThere) {
				return fmt.Errorf("the page %s: %w", p.name, err)
			}
			paints.add(l.paint, nil)
			readies.add(l.ready, err)
			main = append(main, l.main)
			if l.slowest.MS > slow.MS {
				slow = l.slowest
			}
		}
		b.several("first paint: "+p.name, paints, paintLimit)
		whole := b.figureOf("whole page: "+p.name, readies, paintLimit)
		slices.Sort(main)
		whole.Main, whole.Server = main[len(main)/2], slow.MS
		if whole.Note == "" {
			whole.Note = slow.Of
		}
		b.row(whole)
	}
	return nil
}

// several adds the median and the worst of some times.
func (b *consoleBench) several(what string, x times, limit float64) {
	b.row(b.figureOf(what, x, limit))
}

func (b *consoleBench) figureOf(what string, x times, limit float64) consoleFigure {
	slices.Sort(x.ms)
	f := consoleFigure{What: what, Value: x.ms[len(x.ms)/2], Worst: x.ms[len(x.ms)-1], Unit: "ms", Limit: limit, Failed: x.failed}
	if x.failed > 0 {
		f.Note = fmt.Sprintf("%d of %d: %.120v", x.failed, len(x.ms), x.why)
	}
	return f
}

// long leaves the overview open while events come.
func (b *consoleBench) long(ctx context.Context, t *tab) error {
	if _, err := b.load(t, benchPages[0]); err != nil && !errors.Is(err, errNotThere) {
		return err
	}
	if err := b.pause(ctx, 2*time.Second); err != nil {
		return err
	}
	if _, err := t.number(`(window.__tasks.length = 0, 0)`); err != nil {
		return err
	}
	first, err := t.Heap(t.session)
	if err != nil {
		return err
	}
	const mb = 1 << 20
	lasts := time.Duration(b.minutes * float64(time.Minute))
	peak, resident, own := 0.0, int64(0), int64(0)
	for began := time.Now(); time.Since(began) < lasts; {
		b.progress.update(int64(time.Since(began).Seconds()), int64(lasts.Seconds()), "seconds, an open tab")
		if err := b.pause(ctx, time.Second); err != nil {
			return err
		}
		used, err := t.number(`performance.memory.usedJSHeapSize`)
		if err != nil {
			return err
		}
		peak = max(peak, used/mb)
		pids, err := t.Renderers()
		if err != nil {
			return err
		}
		for _, pid := range pids {
			all, anonymous := child.MemoryOf(pid)
			resident, own = max(resident, all), max(own, anonymous)
		}
	}
	worst, err := t.number(`Math.max(0, ...window.__tasks)`)
	if err != nil {
		return err
	}
	late, err := t.number(`window.__tasks.filter(x => x > 100).length`)
	if err != nil {
		return err
	}
	last, err := t.Heap(t.session)
	if err != nil {
		return err
	}
	b.row(
		consoleFigure{What: "open tab: heap at first, garbage collected", Value: float64(first) / mb, Unit: "MB"},
		consoleFigure{What: fmt.Sprintf("open tab: heap after %v, garbage collected", lasts), Value: float64(last) / mb, Unit: "MB", Limit: tabLimit},
		consoleFigure{What: "open tab: heap at its highest, with garbage", Value: peak, Unit: "MB", Limit: tabLimit},
		consoleFigure{What: "open tab: memory of its process", Value: float64(own) / mb, Unit: "MB", Limit: tabLimit, Note: "highest"},
		consoleFigure{What: "open tab: the same with Chromium's code and files", Value: float64(resident) / mb, Unit: "MB", Note: "shared by all tabs"},
		consoleFigure{What: "open tab: longest task", Value: worst, Unit: "ms", Limit: interactLimit, Note: fmt.Sprintf("%.0f beyond 100 ms", late)})
	return nil
}
