//go:build !linux

package snlink

import (
	"os"
	"testing"
)

func pty(t *testing.T) (*os.File, string) {
	t.Skip("serial devices are opened on Linux only")
	return nil, ""
}
