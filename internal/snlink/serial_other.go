//go:build !linux

package snlink

import (
	"fmt"
	"io"
)

// OpenSerial is there on Linux only.
func OpenSerial(path string, _ int) (io.ReadWriteCloser, error) {
	return nil, fmt.Errorf("opening serial device %s: not supported on this system", path)
}
