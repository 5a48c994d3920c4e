package cli

import (
	"bytes"
	"context"
	"encoding/hex"
	"fmt"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/wattbus/wattbus/internal/client"
	"github.com/wattbus/wattbus/internal/gateway"
	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

const (
	keyOfM1 = "000102030405060708090a0b0c0d0e0f"
	keyOfM2 = "f0e0d0c0b0a090807060504030201000"
)

func writeFile(t *testing.T, text string) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "file")
	if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}

// freeUDP is a loopback port for UDP, and for a moment nobody's.
func freeUDP(t *testing.T) string {
	t.Helper()
	c, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	return c.LocalAddr().String()
}

// newForwarder runs a forwarder for nodes that reach it over UDP.
func newForwarder(t *testing.T, gatewayAt string) (at string) {
	t.Helper()
	nodes, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	up, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	f, err := snlink.NewForwarder(snlink.ForwarderOptions{Nodes: nodes, Gateway: up,
		Address: snlink.UDPAddr{AddrPort: netip.MustParseAddrPort(gatewayAt)},
		Node: func(id string) net.Addr {
			a, _ := netip.ParseAddrPort(id)
			return snlink.UDPAddr{AddrPort: a}
		}})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- f.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	})
	return nodes.LocalAddr().String()
}

// TestMeterOverEachSN: one concentrator with every way that MQTT-SN has into it, and a meter over each.
func TestMeterOverEachSN(t *testing.T) {
	dir := pki(t, "M6")
	file := func(name string) string { return filepath.Join(dir, name) }
	group := "239.255.77.2:" + freeUDP(t)[len("127.0.0.1:"):]
	args := []string{"concentrator", "--id", "C1", "--mqtt", "127.0.0.1:0", "--sn", "127.0.0.1:0", "--sns", "127.0.0.1:0",
		"--sns-psk", writeFile(t, "M2:"+keyOfM2+"\n"), "--tls-cert", file("server.pem"), "--tls-key", file("server.key"), "--tls-client-ca", file("ca.pem"),
		"--sn-forwarders", "127.0.0.0/8", "--sn-stream", "127.0.0.1:0", "--sn-store", filepath.Join(t.TempDir(), "sn"),
		"--metrics", "127.0.0.1:0"}
	multicast := canMulticast(t)
	if multicast {
		args = append(args, "--sn-multicast", group+"%lo", "--sn-advertise", "1s")
	}
	here, there, serial := serialPair(t)
	if serial {
		args = append(args, "--sn-serial", here+":115200")
	}
	centre := serve(t, "center", "--data", t.TempDir(), "--mqtt", "127.0.0.1:0", "--http", "127.0.0.1:0")
	c := serve(t, append(args, "--upstream", "mqtt://"+centre.addr("mqtt"))...)
	c.wait("concentrator listens\"")
	meters := [][]string{
		{"M1", "mqttsn://" + c.addr("sn")},
		{"M2", "mqttsns://" + c.addr("sns"), "--psk", keyOfM2},
		{"M3", "mqttsn+tcp://" + c.addr("sn-stream")},
		{"M4", "mqttsn://" + newForwarder(t, c.addr("sn"))},
		{"M6", "mqttsns://" + c.addr("sns"), "--cert", file("M6.pem"), "--key", file("M6.key"), "--ca", file("ca.pem")},
	}
	if multicast {
		meters = append(meters, []string{"M5", "mqttsn+multicast://" + group + "?interface=lo"})
	}
	if serial {
		meters = append(meters, []string{"M7", "mqttsn+serial://" + there + "?baud=115200"})
	}
	var running []*running
	for _, m := range meters {
		running = append(running, background(t, append([]string{"meter", "--id", m[0], "--concentrator", m[1], "--retry", "1s"}, m[2:]...)...))
	}
	for _, m := range running {
		m.wait("registered;")
	}
	// M2 has a key and M6 has shown a certificate, so nobody is either who cannot: not over plain UDP, and not under another name.
	for _, m := range [][]string{
		{"M2", "mqttsn://" + c.addr("sn")}, {"M6", "mqttsn://" + c.addr("sn")},
		{"M2", "mqttsns://" + c.addr("sns"), "--cert", file("M6.pem"), "--key", file("M6.key"), "--ca", file("ca.pem")},
	} {
		thief := background(t, append([]string{"meter", "--id", m[0], "--concentrator", m[1], "--retry", "1s"}, m[2:]...)...)
		thief.wait("cannot reach the concentrator")
		thief.stop()
		if strings.Contains(thief.log.String(), "registered") {
			t.Errorf("%v came in: %s", m, thief.log)
		}
	}
	for _, m := range running { // nobody was thrown out by that
		m.stop()
		if s := m.log.String(); strings.Contains(s, "connection lost") {
			t.Error(s)
		}
	}
}

func canMulticast(t *testing.T) bool {
	t.Helper()
	lo, err := net.InterfaceByName("lo")
	if err != nil || lo.Flags&net.FlagMulticast == 0 && os.Getenv("WATTBUS_CI") != "1" {
		u, err := snlink.ListenUDP(t.Context(), "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer u.Close()
		g, err := u.Join(netip.MustParseAddrPort("239.255.77.3:9"), lo)
		if err != nil {
			t.Logf("without multicast: %v", err)
			return false
		}
		defer g.Close()
		if _, err := u.WriteTo([]byte("x"), snlink.Everyone); err != nil {
			t.Logf("without multicast: %v", err)
			return false
		}
	}
	return true
}

// TestGatewayDoors: a gateway alone has the same doors; two words with it over a stream and from a forwarder.
func TestGatewayDoors(t *testing.T) {
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0")
	g := serve(t, "gateway", "--server", "mqtt://user:secret@"+b.addr("mqtt"), "--sn", "", "--sns", "127.0.0.1:0", "--sns-psk", writeFile(t, "M1:"+keyOfM1),
		"--sn-stream", "127.0.0.1:0", "--sn-gateway-id", "7", "--sn-advertise", "1s")
	if strings.Contains(g.log.String(), "secret") {
		t.Error(g.log)
	}
	key := bytes.Repeat([]byte{0}, 16)
	for i := range key {
		key[i] = byte(i)
	}
	for _, l := range []struct {
		url, as string
	}{{"mqttsns://" + g.addr("sns"), "M1"}, {"mqttsn+tcp://" + g.addr("sn-stream"), "M2"}} {
		link, err := snlink.Dial(t.Context(), l.url, snlink.DialOptions{DTLS: snlink.DTLSClientOptions{Identity: "M1", Key: key}})
		if err != nil {
			t.Fatal(err)
		}
		defer link.Conn.Close()
		say, _ := mqttsn.Connect{ClientID: l.as, Duration: 60}.Append(nil)
		if _, err := link.Conn.WriteTo(say, link.Gateway); err != nil {
			t.Fatal(err)
		}
		for {
			in := make([]byte, 1500)
			n, _, err := link.Conn.ReadFrom(in)
			if err != nil {
				t.Fatal(err)
			}
			m, err := mqttsn.Decode(in[:n])
			if a, ok := m.(mqttsn.Advertise); ok && a.GwID == 7 && a.Duration == 1 {
				continue
			}
			if a, ok := m.(mqttsn.Connack); !ok || a.Code != mqttsn.Accepted {
				t.Fatalf("%s: %v, %v", l.url, m, err)
			}
			break
		}
	}
}

// TestGatewayAnonymous: datagrams as mqtt-sn-pub -q -1 of mqtt-sn-tools sends them (octets as tshark saw them), from sockets that
// never connected, and what a subscriber at the server gets.
func TestGatewayAnonymous(t *testing.T) {
	b := serve(t, "broker", "--mqtt", "127.0.0.1:0")
	g := serve(t, "gateway", "--server", "mqtt://"+b.addr("mqtt"), "--sn", "127.0.0.1:0", "--anonymous", "700=hall/temperature,ab")
	got, ready := make(chan string, 16), make(chan struct{}, 1)
	c, err := client.New(client.Options{URL: "mqtt://" + b.addr("mqtt"), ClientID: "eyes", Subscriptions: []client.Subscription{{Filter: "#"}},
		OnConnect: func(bool) { ready <- struct{}{} },
		OnMessage: func(m *client.Message) { got <- m.Topic + " " + string(m.Payload) }})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() { _ = c.Run(ctx) })
	defer wg.Wait()
	defer cancel()
	<-ready
	for _, d := range []struct{ octets, want string }{
		{"0b0c6102bc000032312e35", "hall/temperature 21.5"},
		{"0c0c626162000073686f7274", "ab short"},
	} {
		octets, err := hex.DecodeString(d.octets)
		if err != nil {
			t.Fatal(err)
		}
		end := time.Now().Add(30 * time.Second)
		for arrived := false; !arrived; { // QoS -1 may be lost: it is sent until it comes
			conn, err := net.Dial("udp", g.addr("sn"))
			if err != nil {
				t.Fatal(err)
			}
			// What follows it is refused: a predefined id that needs to know whose it is, and a name that is not on the list.
			for _, b := range [][]byte{octets, {0x08, 0x0c, 0x61, 0, 2, 0, 0, 'x'}, {0x08, 0x0c, 0x62, 'x', 'y', 0, 0, 'x'}} {
				if _, err := conn.Write(b); err != nil {
					t.Fatal(err)
				}
			}
			_ = conn.Close()
			select {
			case s := <-got:
				if strings.HasSuffix(s, " x") {
					t.Fatalf("%s got through", s)
				}
				arrived = s == d.want
			case <-time.After(200 * time.Millisecond):
				if time.Now().After(end) {
					t.Fatalf("%q never came", d.want)
				}
			}
		}
	}
}

// TestSNDoorsRefused: what the flags cannot mean.
func TestSNDoorsRefused(t *testing.T) {
	keys := writeFile(t, "M1:"+keyOfM1)
	for want, args := range map[string][]string{
		"flag --sns: nothing says who may come in":        {"--sns", "127.0.0.1:0"},
		"flag --sns-psk: only with --sns":                 {"--sns-psk", keys, "--sn", "127.0.0.1:0"},
		"flag --sns-psk: pre-shared keys":                 {"--sns", "127.0.0.1:0", "--sns-psk", writeFile(t, "M1:00")},
		"flag --sn-forwarders: only with --sn":            {"--sn-forwarders", "10.0.0.1", "--sn", "", "--sn-stream", "127.0.0.1:0"},
		"flag --sn-forwarders: \"x\"":                     {"--sn-forwarders", "x", "--sn", "127.0.0.1:0"},
		"flag --sn-multicast: value \"10.0.0.1:1\"":       {"--sn-multicast", "10.0.0.1:1", "--sn", "127.0.0.1:0"},
		"flag --sn-multicast: interface none0":            {"--sn-multicast", "225.1.1.1:1%none0", "--sn", "127.0.0.1:0"},
		"flag --sn-advertise: value 100ms":                {"--sn-advertise", "100ms", "--sn", "127.0.0.1:0"},
		"flag --sn: 0.0.0.0:0 can be reached":             {"--sn", "0.0.0.0:0"},
		"flag --sn-stream: 0.0.0.0:0 can be reached":      {"--sn-stream", "0.0.0.0:0"},
		"flag --sn-serial: value \"/dev/ttyUSB0:fast\"":   {"--sn-serial", "/dev/ttyUSB0:fast"},
		"flag --sn-serial: opening serial device /dev/no": {"--sn-serial", "/dev/no"},
		"flag --sns: value \"x\"":                         {"--sns", "x"},
		"flag --sn: value \"x\"":                          {"--sn", "x"},
		"flag --sn-store":                                 {"--sn-store", t.TempDir(), "--sn", "127.0.0.1:0"},
	} {
		for _, role := range [][]string{
			{"concentrator", "--id", "C1", "--upstream", "mqtt://127.0.0.1:1", "--mqtt", "127.0.0.1:0"},
			{"gateway", "--server", "mqtt://127.0.0.1:1", "--sn", "127.0.0.1:0"},
		} {
			ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
			var errs syncBuffer
			status := Main(ctx, append(role, args...), Stdio{Out: &errs, Err: &errs, Env: func(string) (string, bool) { return "", false }})
			cancel()
			if status == ExitDone || !strings.Contains(errs.String(), want) {
				t.Errorf("%s %v: status %d, %s, want %s", role[0], args, status, &errs, want)
			}
		}
	}
}

// TestSNDefaults: the flag's default is the gateway's.
func TestSNDefaults(t *testing.T) {
	var out syncBuffer
	if status := Main(t.Context(), []string{"gateway", "--help"}, Stdio{Out: &out, Err: &out, Env: func(string) (string, bool) { return "", false }}); status != ExitDone {
		t.Fatal(status)
	}
	if want := fmt.Sprintf("(default %s)", gateway.DefaultAdvertise); !strings.Contains(out.String(), want) {
		t.Errorf("no %s in %s", want, &out)
	}
}
