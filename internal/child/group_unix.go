//go:build unix && !linux

package child

import "syscall"

// attributes make a program the first of a group of its own.
func attributes() *syscall.SysProcAttr { return &syscall.SysProcAttr{Setpgid: true} }
