package e2e

import (
	"bufio"
	"io"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/apiclient"
)

// startUp runs "wattbus up" in dir and waits until it says where the page is.
func startUp(t *testing.T, dir string, extra ...string) *centre {
	t.Helper()
	p := start(t, "up", append([]string{"up", "--data", dir, "--http", "127.0.0.1:0", "--mqtt", "127.0.0.1:0"}, extra...)...)
	c := &centre{process: p}
	at := regexp.MustCompile(`http://(127\.0\.0\.1:\d+)`)
	eventually(t, 60*time.Second, func() string {
		m := at.FindStringSubmatch(p.out.String())
		if m == nil {
			return "no address of the page in the output"
		}
		c.http = m[1]
		return ""
	})
	var err error
	if c.api, err = apiclient.New(apiclient.Options{Server: "http://" + c.http}); err != nil {
		t.Fatal(err)
	}
	return c
}

// TestUp is the first thing a stranger does: the whole system on the data of 494 households. It collects their history of
// 45 days through two levels of concentrators, compares all of it with the data, drives a meter, stops and goes on.
func TestUp(t *testing.T) {
	t.Parallel() // it waits more than it works
	dir := t.TempDir()
	c := startUp(t, dir)
	begin := time.Now()
	const meters, days = 494, 45
	to := t0.Add(days * 24 * time.Hour)
	all := c.completeUpTo(t, to, meters*days*48, 180*time.Second)
	t.Logf("%d intervals in %.1f s after the page was there", all.Expected, time.Since(begin).Seconds())
	ids := c.meterIDs(t, meters)
	if n := c.sameAsData(t, ids, to); n != meters*days*48 {
		t.Fatalf("%d intervals, want %d", n, meters*days*48)
	}

	for _, args := range [][]string{{"read", ids[0]}, {"profile", ids[0]}, {"disconnect", ids[0], "--wait"}} {
		if out, status := wattbusRun(t, c, args...); status != 0 {
			t.Fatalf("%v: status %d %s", args, status, out)
		}
	}
	if m, err := c.api.Meter(t.Context(), ids[0]); err != nil || m.State != api.StateDisconnected {
		t.Fatalf("after disconnect: %+v, %v", m, err)
	}
	if out, status := wattbusRun(t, c, "reconnect", ids[0], "--wait"); status != 0 {
		t.Fatalf("reconnect: status %d %s", status, out)
	}
	// Time runs on: the next intervals come as readings.
	eventually(t, 120*time.Second, func() string {
		now, err := c.api.Completeness(t.Context(), to, time.Time{})
		if err != nil {
			return err.Error()
		}
		if now.Expected < meters || now.Missing > 0 || now.Received < meters/2 {
			return "no live readings yet"
		}
		return ""
	})
	if err := c.stop(); err != nil {
		t.Fatalf("orderly stop: %v", err)
	}
	out := c.out.String()
	for _, want := range []string{"meters", "concentrator", "centre", "stopped"} {
		if !strings.Contains(out[strings.LastIndex(out, "stopping"):]+out, want) {
			t.Errorf("the stop says nothing of %q", want)
		}
	}

	// The second start goes on where the first stopped.
	c = startUp(t, dir)
	c.ready(t)
	now, err := c.api.Totals(t.Context())
	if err != nil || now.Time.Before(to) || now.Time.After(to.Add(4*24*time.Hour)) || now.Paused {
		t.Fatalf("second start: %+v, %v", now, err)
	}
	again, err := c.api.Completeness(t.Context(), time.Time{}, to)
	if err != nil || again.Expected != meters*days*48 || again.Missing != 0 {
		t.Fatalf("second start: %+v, %v", again.Counts, err)
	}
	if cases, err := c.api.Outages(t.Context(), false, 0); err != nil || len(cases) > 0 {
		t.Errorf("stop and start made outages: %+v, %v", cases, err)
	}
	if err := c.stop(); err != nil {
		t.Fatalf("orderly stop: %v", err)
	}
}

// TestPage opens the console in a real browser, presses "disconnect" on a meter's page and watches the breaker open, of a system in which
// all that passes between meters and centre is sealed.
func TestPage(t *testing.T) {
	chromium := need(t, "chromium")
	c := startUp(t, t.TempDir(), "--meters", "12", "--sealed")
	to := t0.Add(45 * 24 * time.Hour)
	c.completeUpTo(t, to, 12*45*48, 180*time.Second)
	id := c.meterIDs(t, 12)[0]

	b := startBrowser(t, chromium)
	b.open("http://" + c.http + "/#/meter/" + id)
	b.waitFor("the meter's name and state", `document.body.innerText.includes('`+id+`') && /online/i.test(document.body.innerText)`)
	b.waitFor("a chart", `!!document.querySelector('canvas')`)
	b.click("Disconnect")
	b.waitFor("a question that names the meter", `[...document.querySelectorAll('dialog[open], [role=dialog], [role=alertdialog]')].some(d => d.innerText.includes('`+id+`'))`)
	b.clickIn("dialog[open], [role=dialog], [role=alertdialog]", "Disconnect")
	b.waitFor("the breaker open", `/disconnected/i.test(document.body.innerText) && /open/i.test(document.body.innerText)`)
	m, err := c.api.Meter(t.Context(), id)
	if err != nil || m.Breaker.State != "open" {
		t.Fatalf("breaker at the centre: %+v, %v", m.Breaker, err)
	}
	b.click("Reconnect")
	b.clickIn("dialog[open], [role=dialog], [role=alertdialog]", "Reconnect")
	b.waitFor("the meter online again", `/online/i.test(document.body.innerText)`)
}

// TestEventStream follows the live events as a script would, by server-sent events.
func TestEventStream(t *testing.T) {
	c := startUp(t, t.TempDir(), "--meters", "3", "--speed", "1800")
	req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "http://"+c.http+"/v1/events?type=reading", nil)
	if err != nil {
		t.Fatal(err)
	}
	req.Header.Set("Accept", "text/event-stream")
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	found := make(chan bool, 1)
	go func() {
		in := bufio.NewScanner(io.LimitReader(resp.Body, 1<<20))
		for in.Scan() {
			if strings.Contains(in.Text(), `"type":"wattbus.reading.v1"`) {
				found <- true
				return
			}
		}
		found <- false
	}()
	select {
	case ok := <-found:
		if !ok {
			t.Fatal("the stream ended without a reading")
		}
	case <-time.After(60 * time.Second):
		t.Fatal("no reading within 60 s")
	}
}
