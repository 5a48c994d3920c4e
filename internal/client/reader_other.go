//go:build !unix

package client

// openRaw leaves raw nil: the link reads through its connection.
func (l *link) openRaw() {}

func (l *link) fillRaw() error { return nil }
