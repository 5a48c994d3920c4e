package record

// ReadingSize is the length of a reading.
const ReadingSize = 32

// Reading (0x02) is the state of the registers at one instant: the end of an interval, or the moment of a read on demand.
type Reading struct {
	Header
	Import   uint64 // register, Wh
	Export   uint64 // register, Wh
	Power    int32  // active power, W
	Voltage  uint16 // 0.1 V
	Sequence uint16
}

// DecodeReading reads a reading.
func DecodeReading(b []byte) (Reading, error) {
	h, err := expect(b, TypeReading)
	if err != nil {
		return Reading{}, err
	}
	return Reading{h, u64(b[8:]), u64(b[16:]), int32(u32(b[24:])), u16(b[28:]), u16(b[30:])}, nil
}

// Append encodes m behind dst.
func (m Reading) Append(dst []byte) []byte {
	dst = put64(put64(m.append(dst, TypeReading), m.Import), m.Export)
	return put16(put16(put32(dst, uint32(m.Power)), m.Voltage), m.Sequence)
}
