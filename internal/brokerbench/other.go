//go:build !linux

package brokerbench

import "context"

func run(context.Context, Options) ([]Result, error) { return nil, ErrSystem }

// Rows gives the names of what can be measured.
func Rows() []string { return nil }
