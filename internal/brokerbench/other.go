//go:build !linux

package brokerbench

import "context"

func run(context.Context, Options) ([]Result, error) { return nil, ErrSystem }

// Rows gives the names of what can be measured.
func Rows() []string { return nil }

// Attacks gives the names of what hostile clients can do.
func Attacks() []string { return nil }

// Attack attacks the broker at addr until ctx ends.
func Attack(context.Context, string, string) error { return ErrSystem }
