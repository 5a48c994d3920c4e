package store

// SealWindow is which counters of a device's sealed messages were let through, for one of its keys and one event.
type SealWindow struct {
	Device string // id
	Key    uint8
	Event  string
	Seen   []byte // package seal's
}
