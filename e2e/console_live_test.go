package e2e

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// cuttable is a TCP proxy that can be cut and mended, as a cable can.
type cuttable struct {
	listener net.Listener
	to       string

	mu    sync.Mutex
	cut   bool
	conns map[net.Conn]bool
	all   sync.WaitGroup
}

func startCuttable(t *testing.T, to string) *cuttable {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &cuttable{listener: l, to: to, conns: map[net.Conn]bool{}}
	p.all.Go(func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			p.all.Go(func() { p.carry(c) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.set(true)
		p.all.Wait()
	})
	return p
}

// carry passes bytes both ways until one end closes or the cable is cut.
func (p *cuttable) carry(in net.Conn) {
	defer in.Close()
	out, err := net.Dial("tcp", p.to)
	if err != nil {
		return
	}
	defer out.Close()
	p.mu.Lock()
	if p.cut {
		p.mu.Unlock()
		return
	}
	p.conns[in], p.conns[out] = true, true
	p.mu.Unlock()
	var both sync.WaitGroup
	for _, way := range [][2]net.Conn{{in, out}, {out, in}} {
		both.Go(func() {
			_, _ = io.Copy(way[0], way[1]) // ends with either connection
			in.Close()
			out.Close()
		})
	}
	both.Wait()
	p.mu.Lock()
	delete(p.conns, in)
	delete(p.conns, out)
	p.mu.Unlock()
}

func (p *cuttable) set(cut bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = cut
	if cut {
		for c := range p.conns {
			c.Close()
		}
	}
}

// shownStarts are the starts of the intervals in the table of a meter's page that hold a value, newest first.
const shownStarts = `[...document.querySelectorAll('table.plain tbody tr')].filter(r => /^[\d,]+$/.test(r.cells[1].innerText.trim())).map(r => r.cells[0].title)`

// TestConsoleLive: a live view that is cut catches up without a gap or a duplicate; a breaker is seen to open; a concentrator dies,
// and its meters are seen to be unreachable, not without power.
func TestConsoleLive(t *testing.T) {
	t.Parallel() // it waits more than it works
	chromium := need(t, "chromium")
	const speed = 600 // an interval takes 3 s
	text, clk := simClock(t0.Add(10*24*time.Hour), speed)
	c := startCentre(t, "--clock", text)
	c1, a1 := startConcentrator(t, "C1", c.mqtt)
	_, a2 := startConcentrator(t, "C2", c.mqtt)
	start(t, "fleet", "fleet", "--meters", "8", "--concentrator", "mqtt://"+a1, "--concentrator", "mqtt://"+a2, "--history", "12h", "--clock", text)
	in := func(path, state string) (ids []string) {
		all, err := c.api.Meters(t.Context(), api.MeterQuery{Path: path, State: state}, 0)
		if err != nil {
			return nil
		}
		for _, m := range all {
			ids = append(ids, m.ID)
		}
		return ids
	}
	eventually(t, 60*time.Second, func() string {
		if a, b := len(in("C1", api.StateOnline)), len(in("C2", api.StateOnline)); a != 4 || b != 4 {
			return fmt.Sprintf("%d and %d meters are there", a, b)
		}
		return ""
	})
	id := in("C2", api.StateOnline)[0]

	cable := startCuttable(t, c.http)
	b := startBrowser(t, chromium)
	b.open("http://" + cable.listener.Addr().String() + "/#/meter/" + id + "?as=table")
	live := `/live/i.test(document.querySelector('header .link')?.innerText ?? '')`
	b.waitFor("the live link", live)
	b.waitFor("intervals", shownStarts+`.length > 3`)
	b.waitFor("its path", `/C2/.test(document.querySelector('[aria-labelledby=paths-title] ol')?.innerText ?? '')`)

	// the browser --X--> the centre     for 30 s of the wall: ten intervals
	before := clk.Now()
	cable.set(true)
	b.waitFor("that the link broke", `!(`+live+`)`)
	b.waitFor("that it is told", `!!document.querySelector('.note [role=alert]')`)
	passed := func(d time.Duration) {
		t.Helper()
		eventually(t, 60*time.Second, func() string {
			if now := clk.Now().Sub(before); now < d {
				return fmt.Sprintf("%s have passed", now)
			}
			return ""
		})
	}
	passed(90 * time.Minute) // what came over the cable before it was cut is shown by now
	kept := b.eval(shownStarts + `[0]`)
	passed(5 * time.Hour)
	if now := b.eval(shownStarts + `[0]`); now != kept {
		t.Errorf("intervals came over a cut cable: %s, then %s", kept, now)
	}
	cable.set(false)
	b.waitFor("the live link again", live)
	mended := clk.Now()
	b.waitFor("what came meanwhile, and more that came live", fmt.Sprintf(`Date.parse(%s[0]?.replace(' UTC', 'Z')) >= %d`, shownStarts, mended.Add(time.Hour).UnixMilli()))
	var shown []string
	if err := json.Unmarshal([]byte(b.eval(shownStarts)), &shown); err != nil {
		t.Fatal(err)
	}
	const layout = "2006-01-02 15:04:05 UTC"
	for i := 1; i < len(shown); i++ {
		newer, err1 := time.Parse(layout, shown[i-1])
		older, err2 := time.Parse(layout, shown[i])
		if err1 != nil || err2 != nil || newer.Sub(older) != 30*time.Minute {
			t.Errorf("after %s comes %s: a gap or a duplicate", shown[i], shown[i-1])
		}
	}

	b.click("Disconnect")
	b.clickIn("dialog[open]", "Disconnect "+id)
	b.waitFor("that the breaker is open", `[...document.querySelectorAll('.facts tr')].some(r => /breaker/i.test(r.cells[0].innerText) && r.cells[1].innerText.trim() === 'Open')`)
	b.waitFor("that it is done", `/Done/.test(document.querySelector('.newest')?.innerText ?? '')`)

	there := "http://" + cable.listener.Addr().String()
	b.eval(`location.hash = '#/?path=C1'`)
	b.waitFor("the meters at C1", `document.querySelectorAll('[role=grid] [role=row] a').length === 4`)
	c1.kill()
	b.waitFor("that C1 is lost", `[...document.querySelectorAll('[role=treeitem]')].some(x => /C1/.test(x.innerText) && /Lost/.test(x.innerText))`)
	b.waitFor("that its meters are unreachable and have power", `(() => {
		const rows = [...document.querySelectorAll('[role=grid] [role=row]')].slice(1).map(r => [...r.children].map(x => x.innerText.trim()));
		return rows.length === 4 && rows.every(r => r[0] === 'Unreachable' && r[4] !== 'Lost');
	})()`)
	if lost := in("C1", api.StatePowerLost); len(lost) > 0 {
		t.Errorf("%v are without power, it is said", lost)
	}
	b.call("Page.navigate", map[string]any{"url": there + "/#/outages?open=1"})
	b.waitFor("the case", `[...document.querySelectorAll('[role=row]')].some(r => /Unreachable/.test(r.innerText) && /C1/.test(r.innerText))`)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	if cases, err := c.api.OutagesOf(ctx, api.OutageQuery{Kinds: []string{"power-lost"}}, 0); err != nil || len(cases) > 0 {
		t.Errorf("outages of supply: %+v, %v", cases, err)
	}
	if said := b.eval(`document.body.innerText`); strings.Contains(said, "NaN") || strings.Contains(said, "undefined") {
		t.Errorf("the page says %s", said)
	}
}
