package connector

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/wattbus/wattbus/internal/api"
	"github.com/wattbus/wattbus/internal/stomp"
)

// otherSide is a server that plays a part in each connection, numbered from 0, and counts them.
type otherSide struct {
	addr string
	wg   sync.WaitGroup
	mu   sync.Mutex
	open map[net.Conn]struct{}
	n    int
}

func newOtherSide(t *testing.T, play func(n int, c net.Conn)) *otherSide {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &otherSide{addr: ln.Addr().String(), open: map[net.Conn]struct{}{}}
	s.wg.Go(func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			s.mu.Lock()
			n := s.n
			s.n++
			s.open[c] = struct{}{}
			s.mu.Unlock()
			s.wg.Go(func() {
				defer c.Close()
				play(n, c)
				s.mu.Lock()
				defer s.mu.Unlock()
				delete(s.open, c)
			})
		}
	})
	t.Cleanup(func() {
		ln.Close()
		s.mu.Lock()
		for c := range s.open {
			c.Close()
		}
		s.mu.Unlock()
		s.wg.Wait()
	})
	return s
}

// TestNonsense: a server that answers in no language that the target speaks is told of, tried again, and takes nothing from its
// neighbours.
func TestNonsense(t *testing.T) {
	t.Parallel()
	answers := map[string]string{
		"text":   "SSH-2.0-OpenSSH_9.2\r\n\r\n\x00\r\n",
		"http":   "HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n",
		"ones":   strings.Repeat("\xff", 4096), // of lengths that are as large as can be
		"zeros":  strings.Repeat("\x00", 4096),
		"hangup": "",
	}
	var file strings.Builder
	file.WriteString("targets:\n")
	var names []string
	dir := t.TempDir()
	for kind, more := range map[string]string{"stomp": "address: /queue/a", "amqp": "address: /queue/a", "kafka": "address: a", "nats": "address: 'a.{id}'", "mqtt": "address: 'a/{id}'", "http": ""} {
		for what, text := range answers {
			s := newOtherSide(t, func(_ int, c net.Conn) {
				if text == "" {
					return
				}
				if _, err := io.WriteString(c, text); err != nil {
					return
				}
				_, _ = io.Copy(io.Discard, c) // until one of us has enough
			})
			typ := kind
			if kind == "http" {
				typ = "webhook"
			}
			names = append(names, kind+"-"+what)
			fmt.Fprintf(&file, "- {name: %s-%s, type: %s, url: '%s://%s', events: [reading], timeout: 1s", kind, what, typ, kind, s.addr)
			if more != "" {
				file.WriteString(", " + more)
			}
			file.WriteString("}\n")
		}
	}
	fmt.Fprintf(&file, "- {name: good, type: files, events: [reading], files: {dir: %q}}\n", dir)
	r := newRig(t, file.String())
	r.publish(200)
	for _, name := range names {
		if name == "http-http" {
			continue // that is HTTP, and refuses some events
		}
		r.until(name+" is told of", func() bool { s := r.status(name); return s.State == api.TargetWaiting && s.Detail != "" && s.Sent == 0 })
		if s := r.status(name); strings.ContainsAny(s.Detail, "\x00\xff") || len(s.Detail) > 600 {
			t.Errorf("%s: %d bytes that nobody can read: %.100q", name, len(s.Detail), s.Detail)
		} else {
			t.Logf("%-14s %s", name, s.Detail)
		}
	}
	r.until("the neighbour has all", func() bool { s := r.status("good"); return s.Sent == 200 && s.PendingBatches == 0 })
}

// TestNonsenseAsks: nonsense in place of requests for commands ends its connection and nothing else; requests that are none are
// refused, answered and kept as dead letters, and the one between them is carried out.
func TestNonsenseAsks(t *testing.T) {
	t.Parallel()
	const nonsense = 4 // connections
	type ended struct{ status, to string }
	answered, acks := make(chan ended, 64), make(chan string, 64)
	s := newOtherSide(t, func(n int, c net.Conn) {
		r := bufio.NewReader(c)
		send := func(text string) { _, _ = io.WriteString(c, text) } // a connection that is gone is noticed by Read
		for {
			f, err := stomp.Read(r)
			if err != nil {
				return
			}
			if f == nil {
				continue
			}
			switch f.Command {
			case "CONNECT":
				send("CONNECTED\nversion:1.2\n\n\x00")
			case "SUBSCRIBE":
				send("RECEIPT\nreceipt-id:" + f.Get("receipt") + "\n\n\x00")
				switch n {
				case 0:
					send("MESSAGE\nmessage-id:x\ncontent-length:99999999999\n\n\x00")
				case 1:
					send("MESSAGE\nmessage-id:x\nno header\n\n\x00")
				case 2:
					send("MESSAGE\nmessage-id:" + strings.Repeat("x", 20_000) + "\n\n\x00")
				case 3:
					send("NONSENSE\n\n\x00")
				default:
					const good = `{"target":{"meter":"M1"},"type":"ping"}`
					for i, m := range []struct{ token, body string }{
						{"operator", "no JSON"}, {"operator", ""}, {"operator", "[1]"}, {"operator", good + good}, {"operator", `{"target":7}`}, {"operator", strings.Repeat(" ", maxRequest+1)},
						{"operator", "{\"type\":\"ping\",\"target\":{\"meter\":\"\x01\xff\"}}"}, {strings.Repeat("t", 9000), good}, {"", good}, {"operator", good},
					} {
						send(fmt.Sprintf("MESSAGE\nmessage-id:m%d\nack:a%d\nreply-to:/queue/r%d\nwattbus_token:%s\ncontent-length:%d\n\n%s\x00", i, i, i, m.token, len(m.body), m.body))
					}
					send("MESSAGE\nack:a10\nwattbus_token:operator\n\n" + good + "\x00") // without an id, it could be carried out twice
				}
			case "SEND":
				answered <- ended{f.Get(statusProperty), f.Get("destination")}
				send("RECEIPT\nreceipt-id:" + f.Get("receipt") + "\n\n\x00")
			case "ACK":
				acks <- f.Get("id")
				send("RECEIPT\nreceipt-id:" + f.Get("receipt") + "\n\n\x00")
			}
		}
	})
	dir := t.TempDir()
	r := newRig(t, fmt.Sprintf("targets:\n- {name: jms, type: stomp, url: 'stomp://%s', commands: {address: /queue/c}}\n- {name: good, type: files, events: [reading], files: {dir: %q}}\n", s.addr, dir))
	made := fakeCommands(t, r)
	want := map[string]string{"/queue/r9": api.CommandDone, "/queue/r8": "401", "/queue/r7": "401", "/queue/r6": "400"}
	for i := range 6 {
		want[fmt.Sprintf("/queue/r%d", i)] = "400"
	}
	r.until("all are answered and acknowledged", func() bool { return len(answered) == 10 && len(acks) == 11 })
	for range 10 {
		if a := <-answered; want[a.to] != a.status {
			t.Errorf("%s: %q, want %q", a.to, a.status, want[a.to])
		}
	}
	if n := made(); n != 1 {
		t.Errorf("%d commands were made", n)
	}
	letters, err := r.bus.DeadLetters(t.Context(), 100, 0)
	if err != nil || len(letters) != 10 {
		t.Errorf("%d dead letters, %v", len(letters), err)
	}
	for _, l := range letters {
		if l.Reason != "command" || l.Topic != "target/jms/commands" || l.Detail == "" || l.Size > maxRequest+1 {
			t.Errorf("%+.200v", l)
		}
	}
	if c := r.status("jms").Commands; c.State != api.TargetConnected || c.Refused != 10 || c.Done != 1 {
		t.Errorf("%+v", c)
	}
	s.mu.Lock()
	if s.n != nonsense+1 {
		t.Errorf("%d connections, want one more than %d with nonsense", s.n, nonsense)
	}
	s.mu.Unlock()
	r.publish(10)
	r.until("the neighbour has all", func() bool { return r.status("good").Sent == 10 })
}

// fakeSTOMP takes events as a broker does, and refuses what refuse says of a frame: with an ERROR that names no receipt, as brokers do
// within a transaction, and with one that does outside.
type fakeSTOMP struct {
	*otherSide
	refuse       func(f *stomp.Frame) bool
	mu           sync.Mutex
	ledger       ledger
	transactions int
	alone        int
}

func newFakeSTOMP(t *testing.T, refuse func(f *stomp.Frame) bool) *fakeSTOMP {
	b := &fakeSTOMP{refuse: refuse}
	b.otherSide = newOtherSide(t, func(_ int, c net.Conn) {
		r := bufio.NewReader(c)
		send := func(text string) { _, _ = io.WriteString(c, text) }
		var open []int // events of the transaction
		for {
			f, err := stomp.Read(r)
			if err != nil {
				return
			}
			if f == nil {
				continue
			}
			if b.refuse(f) {
				text := "ERROR\nmessage:no\n"
				if id := f.Get("receipt"); id != "" {
					text += "receipt-id:" + id + "\n"
				}
				send(text + "\n\x00")
				return
			}
			b.mu.Lock()
			switch f.Command {
			case "CONNECT":
				send("CONNECTED\nversion:1.2\n\n\x00")
			case "BEGIN":
				open = open[:0]
			case "SEND":
				n := number(t, f.Get("ce_id"))
				if f.Get("transaction") != "" {
					open = append(open, n)
					break
				}
				b.alone++
				b.ledger.add(n)
			case "COMMIT":
				b.transactions++
				for _, n := range open {
					b.ledger.add(n)
				}
			}
			b.mu.Unlock()
			if id := f.Get("receipt"); id != "" {
				send("RECEIPT\nreceipt-id:" + id + "\n\n\x00")
			}
		}
	})
	return b
}

func (b *fakeSTOMP) target(name string) string {
	return fmt.Sprintf("- {name: %s, type: stomp, url: 'stomp://%s', address: /queue/a, events: [reading]}\n", name, b.addr)
}

// TestTransactions: events go in transactions; an error in one is followed by its events one by one, so that the one at fault is found
// and refused; a broker that takes no transactions is served without.
func TestTransactions(t *testing.T) {
	t.Parallel()
	picky := newFakeSTOMP(t, func(f *stomp.Frame) bool { return f.Get("ce_id") == "u777" })
	plain := newFakeSTOMP(t, func(f *stomp.Frame) bool { return f.Command == "BEGIN" })
	r := newRig(t, "targets:\n"+picky.target("picky")+plain.target("plain"))
	r.publish(1800)
	r.until("all are there or refused", func() bool {
		a, b := r.status("picky"), r.status("plain")
		return a.Sent >= 1799 && a.Refused == 1 && a.PendingBatches == 0 && b.Sent >= 1800 && b.PendingBatches == 0
	})
	picky.mu.Lock()
	defer picky.mu.Unlock()
	plain.mu.Lock()
	defer plain.mu.Unlock()
	plain.ledger.check(t, 1800)
	if plain.transactions != 0 {
		t.Errorf("%d transactions of a broker that takes none", plain.transactions)
	}
	if len(picky.ledger.seen) != 1799 || picky.transactions < 2 || picky.alone == 0 {
		t.Errorf("%d events, %d twice, %d transactions, %d alone", len(picky.ledger.seen), picky.ledger.twice, picky.transactions, picky.alone)
	}
	if letters, err := r.bus.DeadLetters(t.Context(), 10, 0); err != nil || len(letters) != 1 || !strings.Contains(letters[0].Detail, "the server says: no") {
		t.Errorf("%+v, %v", letters, err)
	}
}

// TestWebhookGarbage: what a webhook answers beside the status changes nothing, and none holds up another.
func TestWebhookGarbage(t *testing.T) {
	t.Parallel()
	hang := make(chan struct{})
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an event went where it was redirected to") }))
	t.Cleanup(other.Close)
	var file strings.Builder
	file.WriteString("targets:\n")
	answers := map[string]struct {
		h    http.HandlerFunc
		want string
	}{
		"fails":    {func(w http.ResponseWriter, _ *http.Request) { http.Error(w, "out of order", 500) }, `answered 500 Internal Server Error: "out of order"`},
		"redirect": {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, other.URL, 307) }, "answered 307 Temporary Redirect"},
		"loop":     {func(w http.ResponseWriter, r *http.Request) { http.Redirect(w, r, r.URL.String(), 302) }, "answered 302 Found"},
		"slow": {func(_ http.ResponseWriter, r *http.Request) {
			select {
			case <-hang:
			case <-r.Context().Done():
			}
		}, "no answer within 300ms"},
		"floods": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(503)
			for range 1000 { // 64 MB, of which a little is read
				if _, err := w.Write(bytes.Repeat([]byte{'x'}, 64<<10)); err != nil {
					return
				}
			}
		}, "answered 503 Service Unavailable"},
		"cuts": {func(w http.ResponseWriter, _ *http.Request) {
			c, _, err := http.NewResponseController(w).Hijack()
			if err == nil {
				_, _ = io.WriteString(c, "HTTP/1.1 200 OK\r\nContent-Le")
				c.Close()
			}
		}, "connection broken"},
		"binary": {func(w http.ResponseWriter, _ *http.Request) {
			w.WriteHeader(502)
			_, _ = w.Write([]byte("\x00\x1b[2J\xff"))
		}, `answered 502 Bad Gateway: "\x00\x1b[2J\xff"`},
		"switches": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusMultipleChoices) }, "answered 300 Multiple Choices"},
	}
	for name, a := range answers {
		s := httptest.NewServer(a.h)
		t.Cleanup(s.Close)
		fmt.Fprintf(&file, "- {name: %s, type: webhook, url: %q, events: [reading], timeout: 300ms}\n", name, s.URL)
	}
	good := newHook(t)
	fmt.Fprintf(&file, "- {name: good, type: webhook, url: %q, events: [reading]}\n", good.URL)
	t.Cleanup(func() { close(hang) })
	r := newRig(t, file.String())
	r.publish(100)
	for name, a := range answers {
		r.waits(name, a.want)
		if s := r.status(name); s.Sent != 0 || s.Refused != 0 || s.PendingBatches == 0 {
			t.Errorf("%s: %+v", name, s)
		}
	}
	r.until("the neighbour has all", func() bool { return good.count() == 100 })
	good.mu.Lock()
	defer good.mu.Unlock()
	good.ledger.check(t, 100)
}

// TestFilesTrouble: a directory that cannot be written and a disk that is full are told and waited for, and what was written of a line is
// taken off again: nothing is missing afterwards. A part that somebody wrote into holds nothing up.
func TestFilesTrouble(t *testing.T) {
	t.Parallel()
	small := t.TempDir()
	if err := syscall.Mount("tmpfs", small, "tmpfs", 0, "size=128k"); err != nil {
		t.Skipf("no disk to fill: %v", err)
	}
	t.Cleanup(func() { _ = syscall.Unmount(small, 0) })
	dir := t.TempDir()
	inWay := filepath.Join(dir, "file")
	if err := os.WriteFile(inWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	lake := filepath.Join(dir, "lake")
	if err := os.Mkdir(lake, 0o755); err != nil {
		t.Fatal(err)
	}
	e := event(100_000)
	whole := append(appendStructured(nil, &e), '\n')
	spoilt := append(append(bytes.Clone(whole), "\x00\xff no event\n"...), whole...)
	if err := os.WriteFile(filepath.Join(lake, "lake-20261129T010203.123Z.jsonl.part"), spoilt, 0o600); err != nil {
		t.Fatal(err)
	}
	fill := filepath.Join(small, "fill")
	if err := os.WriteFile(fill, make([]byte, 80<<10), 0o600); err != nil {
		t.Fatal(err)
	}
	r := newRig(t, fmt.Sprintf(`targets:
- {name: full, type: files, events: [reading], files: {dir: %q}}
- {name: way, type: files, events: [reading], files: {dir: %q}}
- {name: lake, type: files, events: [reading], files: {dir: %q, format: parquet, rotate-every: 50ms}}
- {name: good, type: files, events: [reading], files: {dir: %q}}
`, small, filepath.Join(inWay, "x"), lake, filepath.Join(dir, "good")))
	for range 10 { // messages of their own, of which some fit
		r.publish(20)
	}
	r.waits("full", "no space left on device")
	r.waits("way", "not a directory")
	r.until("the neighbours have all", func() bool { return r.status("good").Sent == 200 && r.status("lake").Sent == 200 })
	r.until("a Parquet file", func() bool { all, _ := filepath.Glob(filepath.Join(lake, "lake-*.parquet")); return len(all) > 0 })
	if text, err := os.ReadFile(filepath.Join(lake, "lake-20261129T010203.123Z.jsonl.bad")); err != nil || !bytes.Equal(text, spoilt) {
		t.Errorf("the spoilt part became %q, %v", text, err)
	}
	if err := os.Remove(fill); err != nil {
		t.Fatal(err)
	}
	r.until("all is written", func() bool { s := r.status("full"); return s.Sent >= 200 && s.PendingBatches == 0 })
	r.stop()
	var l ledger
	readFiles(t, &l, filepath.Join(small, "full-*.jsonl"))
	l.check(t, 200)
	if l.twice > 180 { // those of messages that were fetched together come again, but no part of one fills the disk each time it is tried
		t.Errorf("%d events are there twice", l.twice)
	}
}
