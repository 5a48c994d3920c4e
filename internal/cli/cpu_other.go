//go:build !unix

package cli

import "time"

// ownCPU is not known here.
func ownCPU() time.Duration { return 0 }
