package e2e

import (
	"fmt"
	"io"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/api"
)

// TestBatchesAndUpstreams: both concentrators of a chain put readings together, C7 knows two upstreams of which the preferred one
// is away at first, and C1 speaks MQTT 5 to the centre. History is collected through all of it, interval for interval as in the
// data, before and after the preferred upstream comes.
//
//	fleet -> C7 (batches) -> C1 (batches of its own, passes C7's on) -> centre
//	                      -> C2, once it is there
func TestBatchesAndUpstreams(t *testing.T) {
	t.Parallel() // it waits more than it works
	text, clk := simClock(t0.Add(10*24*time.Hour), 60)
	c := startCentre(t, "--clock", text)
	batching := []string{"--batch-count", "20", "--batch-age", "200ms"}
	a1, a2, a7, metrics7 := freeAddr(t), freeAddr(t), freeAddr(t), freeAddr(t)
	start(t, "C1", append([]string{"concentrator", "--id", "C1", "--upstream", "mqtt://" + c.mqtt, "--mqtt", a1, "--mqtt-version", "5"}, batching...)...)
	start(t, "C7", append([]string{"concentrator", "--id", "C7", "--upstream", "mqtt://" + a2, "--upstream", "mqtt://" + a1, "--mqtt", a7,
		"--metrics", metrics7, "--fail-back", "300ms"}, batching...)...)
	for _, addr := range []string{a1, a7} {
		eventually(t, 60*time.Second, func() string {
			conn, err := net.Dial("tcp", addr)
			if err != nil {
				return err.Error()
			}
			conn.Close()
			return ""
		})
	}
	const meters = 20
	start(t, "fleet", "fleet", "--meters", strconv.Itoa(meters), "--concentrator", "mqtt://"+a7, "--history", "24h", "--clock", text)
	at := func(path string) func() string {
		return func() string {
			all, err := c.api.Meters(t.Context(), api.MeterQuery{}, 0)
			if err != nil {
				return err.Error()
			}
			n, others := 0, ""
			for _, m := range all {
				if m.Kind != "meter" {
					continue
				}
				if m.Path == path && m.State == api.StateOnline {
					n++
				} else {
					others += fmt.Sprintf("; %+v", m)
				}
			}
			if n != meters {
				return fmt.Sprintf("%d of %d meters online at %s%s", n, meters, path, others)
			}
			return ""
		}
	}
	upTo := func() time.Time { return clk.Now().Add(-5 * time.Minute).Truncate(30 * time.Minute) }
	eventually(t, 60*time.Second, at("C1/C7"))
	c.completeUpTo(t, upTo(), meters*47, 180*time.Second)

	start(t, "C2", append([]string{"concentrator", "--id", "C2", "--upstream", "mqtt://" + c.mqtt, "--mqtt", a2}, batching...)...)
	eventually(t, 120*time.Second, at("C2/C7")) // those that have not spoken since C7 moved count as unreachable until they have settled
	to := clk.Now().Add(30 * time.Minute).Truncate(30 * time.Minute)
	eventually(t, 60*time.Second, func() string {
		if now := clk.Now(); now.Before(to.Add(2 * time.Minute)) {
			return "no new interval yet at " + now.String()
		}
		return ""
	})
	c.completeUpTo(t, to, meters*48, 180*time.Second)
	n := c.sameAsData(t, c.meterIDs(t, meters), to)
	if got := metric(t, metrics7, "wattbus_concentrator_up_batched_messages_total"); got < meters {
		t.Errorf("%v messages in batches", got)
	}
	for _, words := range []string{"dead_letters_total{"} {
		if text := scrape(t, c.http); strings.Contains(text, words) {
			t.Errorf("the centre has dead letters:\n%s", regexp.MustCompile(`(?m)^.*dead_letters_total.*$`).FindString(text))
		}
	}
	t.Logf("%d intervals as in the data", n)
}

func scrape(t *testing.T, addr string) string {
	t.Helper()
	resp, err := http.Get("http://" + addr + "/metrics")
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// metric reads the first value of a metric.
func metric(t *testing.T, addr, name string) float64 {
	t.Helper()
	m := regexp.MustCompile(`(?m)^` + name + `(?:\{[^}]*\})? (\S+)$`).FindStringSubmatch(scrape(t, addr))
	if m == nil {
		t.Fatalf("no metric %s", name)
	}
	v, err := strconv.ParseFloat(m[1], 64)
	if err != nil {
		t.Fatal(err)
	}
	return v
}
