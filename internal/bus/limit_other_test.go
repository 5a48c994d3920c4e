//go:build !linux

package bus

func helperLimit() {}
