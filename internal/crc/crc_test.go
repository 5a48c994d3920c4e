package crc

import (
	"hash/crc32"
	"testing"
)

// The catalogues give the check of "123456789".
func TestChecks(t *testing.T) {
	nine := []byte("123456789")
	for want, c := range map[uint32]*Table{0xF4: CRC8, 0xBB3D: ARC, 0x4B37: Modbus, 0x29B1: CCITT, 0x31C3: XModem, 0x906E: X25, 0xC2B7: EN13757, 0xCBF43926: CRC32} {
		if got := c.Of(nine); got != want {
			t.Errorf("%d bits: 0x%X, want 0x%X", c.Width(), got, want)
		}
	}
	if X25.Of16(nine) != 0x906E || CRC32.Of(nil) != crc32.ChecksumIEEE(nil) {
		t.Error("of nothing")
	}
	if n := testing.AllocsPerRun(100, func() { X25.Of16(nine) }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkX25(b *testing.B) {
	m := make([]byte, 1000)
	b.SetBytes(1000)
	for b.Loop() {
		X25.Of16(m)
	}
}
