package store

// What backends delete of dropped chunks in one commit: so many bytes, and twice what it brings. A chunk counts some bytes more than
// it has, so that many small ones are bounded, too.
const (
	SweepBytes = 1 << 20
	SweepRow   = 512
)
