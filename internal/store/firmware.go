package store

// Image is a firmware image. Doc is its API form as JSON; Data is the signed file, which lists do without.
type Image struct {
	ID       uint64 // any 64 bits
	Recorded uint32 // business time
	Doc      []byte
	Data     []byte
}

// RollOut is the roll-out of an image to many meters. Doc is the firmware engine's, as JSON.
type RollOut struct {
	ID   uint64 // growing, below 2^63
	Open bool
	Doc  []byte
}

// RollOutMember is one meter's part in a roll-out; State and Reason are the firmware engine's.
type RollOutMember struct {
	RollOut uint64
	Device  uint32 // ordinal
	State   uint8
	Reason  uint8
	Changed uint32 // business time
}
