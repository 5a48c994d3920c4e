package cli

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/wattbus/wattbus/internal/mqttsn"
	"github.com/wattbus/wattbus/internal/snlink"
)

// What a meter and a gateway say in a day, as Wireshark's dissector of MQTT-SN reads it: every message is one to it, and of the
// same type as to us.
func TestDissector(t *testing.T) {
	tshark := need(t, "tshark")
	var messages [][]byte
	synctest.Test(t, func(t *testing.T) {
		n := narrowband{speed: 1, sleep: time.Hour, log: slog.New(slog.DiscardHandler), observe: func(x snlink.Transmission) {
			if x.Message[0] != 0 { // a part of a longer message is none
				messages = append(messages, bytes.Clone(x.Message))
			}
		}}
		if _, err := n.run(t.Context()); err != nil {
			t.Fatal(err)
		}
	})
	file := filepath.Join(t.TempDir(), "day.pcap")
	if err := os.WriteFile(file, capture(messages), 0o600); err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(tshark, "-r", file, "-d", "udp.port==1894,mqttsn", "-T", "fields", "-e", "mqttsn.msg.type", "-e", "_ws.malformed")
	var errs bytes.Buffer
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s", err, errs.String())
	}
	lines := strings.Split(strings.TrimRight(string(out), "\n"), "\n")
	if len(lines) != len(messages) {
		t.Fatalf("%d lines for %d messages", len(lines), len(messages))
	}
	seen := map[mqttsn.MsgType]int{}
	for i, line := range lines {
		h, err := mqttsn.ParseHeader(messages[i])
		if err != nil {
			t.Fatal(err)
		}
		seen[h.Type]++
		if want := fmt.Sprintf("0x%02x\t", byte(h.Type)); line != want {
			t.Errorf("% x is %q to tshark, want %q", messages[i], line, want)
		}
	}
	t.Logf("%d messages: %v", len(messages), seen)
	if len(seen) < 13 {
		t.Errorf("only %d types of messages: %v", len(seen), seen)
	}
}

// capture makes a pcap file of UDP datagrams in IPv4 (link type 228).
func capture(messages [][]byte) []byte {
	le, be := binary.LittleEndian, binary.BigEndian
	b := le.AppendUint32(nil, 0xA1B2C3D4)
	b = le.AppendUint16(le.AppendUint16(b, 2), 4)
	b = le.AppendUint32(le.AppendUint32(b, 0), 0)
	b = le.AppendUint32(le.AppendUint32(b, 65535), 228)
	for i, m := range messages {
		n := udpIP + len(m)
		b = le.AppendUint32(le.AppendUint32(b, uint32(i)), 0)
		b = le.AppendUint32(le.AppendUint32(b, uint32(n)), uint32(n))
		b = append(b, 0x45, 0)
		b = be.AppendUint16(b, uint16(n))
		b = append(b, 0, 0, 0, 0, 64, 17, 0, 0, 127, 0, 0, 1, 127, 0, 0, 1)
		b = be.AppendUint16(be.AppendUint16(b, 1894), 1894)
		b = be.AppendUint16(be.AppendUint16(b, uint16(8+len(m))), 0)
		b = append(b, m...)
	}
	return b
}
