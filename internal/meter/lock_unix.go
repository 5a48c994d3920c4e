//go:build unix

package meter

import (
	"os"
	"syscall"
)

// lock takes the advisory lock of a file; the end of the process releases it.
func lock(f *os.File) error {
	return syscall.Flock(int(f.Fd()), syscall.LOCK_EX|syscall.LOCK_NB)
}
