package top

import (
	"encoding/json"
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/screen"
)

var update = flag.Bool("update", false, "write the golden files anew")

var noon = time.Date(2018, 12, 12, 12, 0, 0, 0, time.UTC)

// sample is a centre in a storm.
func sample() *Model {
	m := New("http://127.0.0.1:8080", false)
	for i := range 40 {
		m.SetTotals(api.Totals{Time: noon, Speed: 60, Meters: 494, Concentrators: 3, States: map[string]int{api.StateOnline: 480, api.StatePowerLost: 12, api.StateUnreachable: 2},
			Completeness: api.Counts{Expected: 1067040, Missing: 1024, Percent: 99.904}, ReadingsPerSec: float64(i * 100), PowerW: 231400, CommandsOpen: 1,
			OutagesOpen: 2, Storm: true, Backfill: api.Backfill{Waiting: 12, InFlight: 4}, DeadLetters: 3, Store: api.Storage{Bytes: 12400000}}, noon)
	}
	m.SetLists([]api.Concentrator{
		{ID: "C1", Path: "C1", State: "online", Since: noon.Add(-49 * time.Hour), Below: 300, States: map[string]int{api.StateOnline: 290}},
		{ID: "C11", Path: "C1/C11", State: "lost", Since: noon.Add(-90 * time.Second), Below: 100, States: map[string]int{api.StateOnline: 95}},
		{ID: "C2", Path: "C2", State: "online", Since: noon.Add(-time.Hour), Below: 194, States: map[string]int{api.StateOnline: 190}},
	}, []api.Outage{
		{ID: "1", Kind: "power-lost", Scope: "transformer", Element: "変圧器 T1\x1b[2J", Affected: 12, Restored: 3, Start: noon.Add(-10 * time.Minute), Confidence: 0.97},
		{ID: "2", Kind: "unreachable", Concentrator: "C11", Affected: 2, Start: noon.Add(-90 * time.Second)},
	}, []api.Command{{ID: "7264936155", Type: "ping", Target: api.Target{Path: "C1"}, State: api.CommandSent, Created: noon.Add(-4 * time.Second),
		Bulk: &api.Bulk{Total: 300, States: map[string]int{api.CommandDone: 250, api.CommandSent: 50}}}})
	m.SetCompleteness([]api.KeyCounts{{Key: "C1/C11", Expected: 1000, There: 400}, {Key: "C1", Expected: 100000, There: 99999}})
	ev := func(name string, data any) {
		text, _ := json.Marshal(data)
		m.Add(api.Event{Type: "wattbus." + name + ".v1", Subject: "M1", Time: noon, Data: text}, noon)
	}
	ev(api.EventState, api.Meter{State: api.StatePowerLost, Path: "C1/C11"})
	ev(api.EventOutage, api.Outage{Kind: "power-lost", Meter: "M1", End: &noon})
	ev(api.EventCommand, api.Command{ID: "9", Type: "ping", Target: api.Target{Meter: "M1"}, State: "done"})
	ev(api.EventConcentrator, api.Concentrator{State: "lost", Path: "C1/C11"})
	ev(api.EventStorm, api.Storm{Active: true})
	return m
}

var styles = regexp.MustCompile(`\x1b\[[0-9;]*m`)

func text(lines []string) string {
	return styles.ReplaceAllString(strings.Join(lines, "\n"), "") + "\n"
}

func TestFrames(t *testing.T) {
	var all strings.Builder
	show := func(name string, m *Model, w, h int) {
		fmt.Fprintf(&all, "=== %s, %d by %d\n%s", name, w, h, text(m.Frame(w, h)))
	}
	m := sample()
	show("all", m, 80, 30)
	for _, k := range []screen.Key{"2", "3", "4", "5"} {
		m.Key(k)
		show("key "+string(k), m, 80, 14)
	}
	m.Key("4")
	m.Key("s")
	m.Key("s")
	m.Key("r")
	show("by the third column, the other way round", m, 80, 14)
	for _, k := range []screen.Key{"/", "c", "2"} {
		m.Key(k)
	}
	show("typing a filter", m, 80, 14)
	m.Key(screen.Enter)
	show("filtered", m, 60, 12)
	m.Key("?")
	show("help", m, 80, 14)
	fmt.Fprintf(&all, "=== plain\n%s", strings.Join(sample().Plain(80, 2), "\n")+"\n")
	fmt.Fprintf(&all, "=== nothing known\n%s", text(New("http://c", false).Frame(60, 10)))

	const file = "testdata/frames.golden"
	if *update {
		if err := os.WriteFile(file, []byte(all.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if all.String() != string(want) {
		t.Errorf("frames differ; if that is meant, run the test with -update:\n%s", all.String())
	}
}

// Whatever the size and the keys, a frame has as many lines as the screen, none is wider, and nothing but styles is obeyed.
func TestFramesFit(t *testing.T) {
	keys := []screen.Key{"1", "2", "3", "4", "5", "s", "r", "/", "x", screen.Escape, screen.PageDown, screen.PageUp, screen.End, screen.Home, "?", " ", screen.Down, screen.Tab}
	for _, colours := range []bool{false, true} {
		m := sample()
		m.Colours = colours
		for i := range 400 {
			m.Key(keys[i*7%len(keys)])
			w, h := 1+i*13%160, 1+i*5%60
			lines := m.Frame(w, h)
			if !m.help && len(lines) != h || len(lines) > h {
				t.Fatalf("%d lines on a screen of %d", len(lines), h)
			}
			for _, l := range lines {
				bare := styles.ReplaceAllString(l, "")
				if Width(bare) > w || strings.ContainsAny(bare, "\x1b\n\r") {
					t.Fatalf("%d columns on a screen of %d: %q", Width(bare), w, l)
				}
				if !colours && regexp.MustCompile(`\x1b\[[0-9;]*3[0-9]`).MatchString(l) {
					t.Fatalf("a colour: %q", l)
				}
			}
		}
	}
}

func TestKeysThatEnd(t *testing.T) {
	m := sample()
	if m.Key("x") || !m.Key("q") || !m.Key(screen.Interrupt) {
		t.Error("q and ctrl-c end, x does not")
	}
	m.Key("/")
	if m.Key("q") || !m.Key(screen.Interrupt) {
		t.Error("q is a letter while one types")
	}
}

func TestListsAreBounded(t *testing.T) {
	m := sample()
	for i := range maxLog + 100 {
		m.Add(api.Event{Type: "wattbus.state.v1", Subject: fmt.Sprint(i), Data: []byte(`{}`)}, noon)
		m.SetTotals(api.Totals{}, noon)
	}
	if len(m.events.rows) != maxLog || len(m.rates) != maxRates {
		t.Errorf("%d events, %d rates", len(m.events.rows), len(m.rates))
	}
	if m.Add(api.Event{Type: "wattbus.state.v1", Data: []byte(`{`)}, noon) || m.Add(api.Event{Type: "x"}, noon) {
		t.Error("what cannot be read makes nothing stale")
	}
}

// A line tells what is new: a command for many is told by its counts, and an event that changes nothing a line tells is none.
func TestEventsAreToldOnce(t *testing.T) {
	m := New("http://c", false)
	tell := func(c api.Command) {
		text, _ := json.Marshal(c)
		m.Add(api.Event{Type: "wattbus.command.v1", Subject: c.ID, Data: text}, noon)
	}
	c := api.Command{ID: "7", Type: "reconnect", Target: api.Target{Listed: 2}, State: api.CommandSent, Bulk: &api.Bulk{Total: 2, States: map[string]int{api.CommandSent: 2}}}
	tell(c)
	c.Sends = 2
	tell(c)
	c.State, c.Bulk = api.CommandDone, &api.Bulk{Total: 2, States: map[string]int{api.CommandDone: 2}, Verification: map[string]int{api.VerifyPending: 2}}
	tell(c)
	c.Bulk.Verification = map[string]int{api.VerifyDone: 2}
	tell(c)
	tell(c)
	var got []string
	for _, e := range m.events.rows {
		got = append(got, e.text)
	}
	want := []string{"reconnect 2 meters is done: 2 done, reading behind it verified 2", "reconnect 2 meters is done: 2 done, reading behind it pending 2", "reconnect 2 meters is sent: 2 sent"}
	if !slices.Equal(got, want) {
		t.Errorf("%q, want %q", got, want)
	}
}

func TestNumbers(t *testing.T) {
	for d, want := range map[time.Duration]string{0: "0s", 59 * time.Second: "59s", 61 * time.Second: "1m01s", 3*time.Hour + 4*time.Minute: "3h04m", 49 * time.Hour: "2d01h", -time.Second: "0s"} {
		if got := short(d); got != want {
			t.Errorf("short(%v) = %s, want %s", d, got, want)
		}
	}
	for n, want := range map[int64]string{0: "0", 999: "999", 1067040: "1,067,040", -100: "-100", -1000: "-1,000"} {
		if got := number(n); got != want {
			t.Errorf("number(%d) = %s, want %s", n, got, want)
		}
	}
}
