// Package record is the codec of the fixed-length messages that pass between devices and the centre (docs/contract.md,
// section 2), a file each. Bytes in, values out: it routes nothing and keeps nothing.
//
// All integers are big-endian, times are seconds since 1970-01-01T00:00:00Z, energy is Wh. Decoding checks the length, the
// version and the type first; encoding refuses what a field cannot hold.
package record
