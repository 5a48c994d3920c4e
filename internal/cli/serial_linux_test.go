package cli

import (
	"io"
	"os"
	"strconv"
	"sync"
	"testing"

	"golang.org/x/sys/unix"
)

// serialPair makes two serial devices with a cable between them.
func serialPair(t *testing.T) (here, there string, ok bool) {
	t.Helper()
	var ends [2]*os.File
	var names [2]string
	for i := range ends {
		fd, err := unix.Open("/dev/ptmx", unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
		if err != nil {
			t.Logf("without serial devices: %v", err)
			return "", "", false
		}
		ends[i] = os.NewFile(uintptr(fd), "ptmx")
		if err := unix.IoctlSetPointerInt(fd, unix.TIOCSPTLCK, 0); err != nil {
			t.Fatal(err)
		}
		n, err := unix.IoctlGetInt(fd, unix.TIOCGPTN)
		if err != nil {
			t.Fatal(err)
		}
		names[i] = "/dev/pts/" + strconv.Itoa(n)
		// Held open here, the device does not hang up while nobody else has it.
		slave, err := os.OpenFile(names[i], os.O_RDWR|unix.O_NOCTTY, 0)
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { slave.Close() })
		state, err := unix.IoctlGetTermios(int(slave.Fd()), unix.TCGETS)
		if err != nil {
			t.Fatal(err)
		}
		state.Lflag &^= unix.ECHO | unix.ICANON // what comes before somebody opens it is not sent back
		if err := unix.IoctlSetTermios(int(slave.Fd()), unix.TCSETS, state); err != nil {
			t.Fatal(err)
		}
	}
	var wg sync.WaitGroup
	for i := range ends {
		wg.Go(func() { _, _ = io.Copy(ends[i], ends[1-i]) })
	}
	t.Cleanup(func() {
		for _, e := range ends {
			e.Close()
		}
		wg.Wait()
	})
	return names[0], names[1], true
}
