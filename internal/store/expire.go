package store

import "fmt"

// Expiry is a kind of what may be kept for a while only.
type Expiry uint8

// The kinds, and which time counts for each.
const (
	ExpireVersions  Expiry = iota // versions of blocks, by when they were superseded; the newest one always stays
	ExpireIntervals               // all versions of blocks, by the end of their day; values of sub-meters, by their time
	ExpireCommands                // that are not open, by when they were created
	ExpireOutages                 // and interruptions and maintenance that have ended, by when they did
	ExpireSlots                   // what blocks told once more by slot, by the end of their day; the blocks stay
)

// Expiries are all kinds.
func Expiries() []Expiry {
	return []Expiry{ExpireVersions, ExpireIntervals, ExpireCommands, ExpireOutages, ExpireSlots}
}

// String is the name as in metrics and flags.
func (e Expiry) String() string {
	if names := [...]string{"versions", "intervals", "commands", "outages", "slots"}; int(e) < len(names) {
		return names[e]
	}
	return fmt.Sprintf("expiry %d", uint8(e))
}
