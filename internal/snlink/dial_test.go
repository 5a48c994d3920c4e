package snlink

import (
	"errors"
	"net"
	"os"
	"strings"
	"testing"
)

func TestCheckURL(t *testing.T) {
	for _, s := range []string{"mqttsn://host", "mqttsn://127.0.0.1:1894", "mqttsns://[::1]:8894", "mqttsn+multicast://225.1.1.1:1883?interface=lo",
		"mqttsn+serial:///dev/ttyS0?baud=9600", "mqttsn+serial:///dev/ttyS0", "mqttsn+tcp://modem:4001"} {
		if err := CheckURL(s); err != nil {
			t.Error(err)
		}
	}
	for _, s := range []string{"", "mqtt://host", "mqttsn://", "mqttsn://user:secret@host", "mqttsn://host/path", "mqttsn://host?x=1", "mqttsn+tcp://host",
		"mqttsn+multicast://10.0.0.1:1883", "mqttsn+multicast://group:1883", "mqttsn+serial://host/dev/x", "mqttsn+serial:///dev/x?baud=fast", "mqttsn://host#x"} {
		err := CheckURL(s)
		if !errors.Is(err, errURL) || strings.Contains(err.Error(), "secret") {
			t.Errorf("%q: %v", s, err)
		}
	}
	if u, err := parseURL("mqttsns://host"); err != nil || u.Host != "host:8894" {
		t.Errorf("%v, %v", u, err)
	}
}

func TestDial(t *testing.T) {
	gw, err := ListenUDP(t.Context(), "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	closing(t, gw)
	l, err := Dial(t.Context(), "mqttsn://"+gw.LocalAddr().String(), DialOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, l.Conn)
	write(t, l.Conn, []byte{2, 0x16}, l.Gateway)
	_, from := read(t, gw)
	write(t, gw, []byte{2, 0x17}, from)
	if _, from := read(t, l.Conn); from != l.Gateway {
		t.Errorf("the answer comes from %v, the gateway is %v", from, l.Gateway)
	}

	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = ln.Close() }()
	if l, err = Dial(t.Context(), "mqttsn+tcp://"+ln.Addr().String(), DialOptions{}); err != nil {
		t.Fatal(err)
	}
	closing(t, l.Conn)
	in, err := ln.Accept()
	if err != nil {
		t.Fatal(err)
	}
	far, err := NewStream(in, StreamOptions{})
	if err != nil {
		t.Fatal(err)
	}
	closing(t, far)
	write(t, far, []byte{2, 0x17}, nil)
	if _, from := read(t, l.Conn); from != l.Gateway {
		t.Errorf("the answer comes from %v, the gateway is %v", from, l.Gateway)
	}

	d := listenDTLS(t, DTLSOptions{PSK: keys})
	key, _ := keys("M1")
	if l, err = Dial(t.Context(), "mqttsns://"+d.LocalAddr().String(), DialOptions{DTLS: DTLSClientOptions{Identity: "M1", Key: key}}); err != nil {
		t.Fatal(err)
	}
	closing(t, l.Conn)
	if _, err = Dial(t.Context(), "mqttsn+serial:///dev/none", DialOptions{}); !errors.Is(err, os.ErrNotExist) {
		t.Error(err)
	}
	if _, err = Dial(t.Context(), "mqttsn+multicast://225.1.1.1:1883?interface=none0", DialOptions{}); err == nil {
		t.Error("an interface that is not there")
	}
}
