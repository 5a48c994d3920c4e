package snlink

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/sys/unix"
)

// OpenSerial opens a serial device by its path, raw, with eight data bits, no parity and one stop bit, at so many bit/s; 0
// leaves the speed as it is.
func OpenSerial(path string, baud int) (io.ReadWriteCloser, error) {
	// Without O_NONBLOCK the open would wait for a carrier; it also puts the file under the runtime's poller, so that Close ends a Read.
	fd, err := unix.Open(path, unix.O_RDWR|unix.O_NOCTTY|unix.O_NONBLOCK|unix.O_CLOEXEC, 0)
	if err != nil {
		return nil, fmt.Errorf("opening serial device %s: %w", path, err)
	}
	if err := raw(fd, baud); err != nil {
		_ = unix.Close(fd)
		return nil, fmt.Errorf("setting up serial device %s: %w", path, err)
	}
	return os.NewFile(uintptr(fd), path), nil
}

func raw(fd, baud int) error {
	t, err := unix.IoctlGetTermios(fd, unix.TCGETS2)
	if err != nil {
		return err
	}
	t.Iflag &^= unix.IGNBRK | unix.BRKINT | unix.PARMRK | unix.ISTRIP | unix.INLCR | unix.IGNCR | unix.ICRNL | unix.IXON | unix.IXOFF
	t.Oflag &^= unix.OPOST
	t.Lflag &^= unix.ECHO | unix.ECHONL | unix.ICANON | unix.ISIG | unix.IEXTEN
	t.Cflag &^= unix.CSIZE | unix.PARENB | unix.CSTOPB
	t.Cflag |= unix.CS8 | unix.CREAD | unix.CLOCAL
	t.Cc[unix.VMIN], t.Cc[unix.VTIME] = 1, 0
	if baud > 0 {
		t.Cflag = t.Cflag&^(unix.CBAUD|unix.CBAUD<<16) | unix.BOTHER
		t.Ispeed, t.Ospeed = uint32(baud), uint32(baud)
	}
	return unix.IoctlSetTermios(fd, unix.TCSETS2, t)
}
