package child

import "syscall"

// attributes make a program the first of a group of its own, and have the system ask it to end should whoever started it be killed.
func attributes() *syscall.SysProcAttr {
	return &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGTERM}
}
