package dsmr

import "github.com/wattbus/wattbus/internal/crc"

// CRC16 is the check sum of telegrams: CRC-16/ARC, polynomial 0x8005 reflected, start 0.
func CRC16(b []byte) uint16 { return crc.ARC.Of16(b) }

func crcText(c uint16) string {
	const digits = "0123456789ABCDEF"
	return string([]byte{digits[c>>12], digits[c>>8&15], digits[c>>4&15], digits[c&15]})
}
