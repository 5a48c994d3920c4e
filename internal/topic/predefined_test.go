package topic

import "testing"

func TestPredefined(t *testing.T) {
	for code, want := range map[uint16]string{
		0x0001: "up/meter/M1/location", 0x0002: "up/meter/M1/reading", 0x0003: "up/meter/M1/profile", 0x0004: "up/meter/M1/result",
		0x0005: "up/meter/M1/power", 0x0006: "up/meter/M1/lost", 0x0007: "up/meter/M1/event",
		0x000B: "up/meter/M1/firmware-state", 0x0084: "dn/meter/M1/firmware", 0x0085: "dn/meter/M1/block", 0x0185: "dn/all/meter/block",
		0x0081: "dn/meter/M1/location-ack", 0x0082: "dn/meter/M1/cmd", 0x0083: "dn/meter/M1/groups",
		0x0181: "dn/all/meter/location-ack", 0x0182: "dn/all/meter/cmd", 0x0183: "dn/all/meter/groups",
	} {
		if name, ok := Predefined("M1", code); !ok || name != want {
			t.Errorf("%04x is %q, want %q", code, name, want)
		}
		if id, ok := PredefinedID("M1", want); !ok || id != code {
			t.Errorf("%q is %04x, want %04x", want, id, code)
		}
	}
	for _, code := range []uint16{0, 8, 0x80, 0x86, 0x180, 0x186, 0xffff} {
		if name, ok := Predefined("M1", code); ok {
			t.Errorf("%04x is %q", code, name)
		}
	}
	for _, name := range []string{"", "up/meter/M2/reading", "up/meter/M1/cmd", "dn/meter/M1/reading", "up/meter/M1x/reading", "up/C1/meter/M1/reading",
		"dn/all/meter/", "dn/all/meter/x", "up/meter/M1", "x/meter/M1/reading"} {
		if id, ok := PredefinedID("M1", name); ok {
			t.Errorf("%q is %04x", name, id)
		}
	}
	if _, ok := PredefinedID("", "up/meter//reading"); ok {
		t.Error("a meter without an id")
	}
}
