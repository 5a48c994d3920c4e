package dlms

import (
	"encoding/binary"
	"time"

	"github.com/wattbus/wattbus/internal/format"
)

// Notification is a Data-Notification (IEC 62056-5-3, clause 9.3.10).
type Notification struct {
	InvokeID uint32 // long invoke id and priority
	DateTime []byte // 12 octets, when the meter sent it; nil where it does not tell
	TimeTag  bool   // the date-time is sent as a Data, with its tag in front of the length, as some meters do
	Body     Value
}

// Decode reads a plain APDU, behind a wrapper or not. Errors name the part and the offset.
func (n *Notification) Decode(b []byte) error {
	b, at, err := unwrap(b)
	if err != nil {
		return err
	}
	d := decoder{b: b, at: at}
	if t := d.octet("APDU"); d.err == nil && t != tagDataNotification {
		d.at--
		d.fail("APDU", format.ErrVersion, "tag 0x%02x, want 0x0F, a data-notification", t)
	}
	*n = Notification{}
	if id := d.take("long invoke id", 4); id != nil {
		n.InvokeID = binary.BigEndian.Uint32(id)
	}
	if n.TimeTag = len(d.b) > 13 && d.b[0] == byte(OctetString) && d.b[1] == dateTimeSize; n.TimeTag {
		d.take("date-time", 1)
	}
	at = d.at
	if size := d.length("date-time"); d.err == nil && size != 0 && size != dateTimeSize {
		d.at = at
		d.fail("date-time", format.ErrLength, "%d octets, want 12 or none", size)
	} else if size == dateTimeSize {
		n.DateTime = d.take("date-time", size)
	}
	n.Body = d.value(0)
	if d.err == nil && len(d.b) > 0 {
		d.fail("APDU", format.ErrLength, "%d octets behind the body", len(d.b))
	}
	return d.err
}

// Append encodes the notification, without a wrapper.
func (n *Notification) Append(b []byte) []byte {
	b = binary.BigEndian.AppendUint32(append(b, tagDataNotification), n.InvokeID)
	if n.TimeTag && len(n.DateTime) > 0 {
		b = append(b, byte(OctetString))
	}
	b = append(appendLength(b, len(n.DateTime)), n.DateTime...)
	return n.Body.Append(b)
}

const (
	dateTimeSize = 12
	noDeviation  = 0x8000
	clockInvalid = 0x03 // bits of the clock status: invalid, doubtful
	summerTime   = 0x80 // the same: daylight saving is active
	noStatus     = 0xFF
)

// moment reads a date-time of 12 octets (IEC 62056-6-2, clause 4.1.6.1): year, month, day of month, day of week, hour, minute,
// second, hundredths, deviation in minutes from local time to UTC, clock status. zone is that of meters that tell no deviation.
// The second result is false where the meter says that its clock is not to be relied on.
func moment(field string, b []byte, at int, zone *time.Location) (uint32, bool, error) {
	if len(b) != dateTimeSize {
		return 0, false, format.At(field, at, format.ErrLength, "%d octets, want a date-time of 12", len(b))
	}
	year, month, day := int(binary.BigEndian.Uint16(b)), int(b[2]), int(b[3])
	hour, minute, second := int(b[5]), int(b[6]), int(b[7])
	if second == 0xFF { // not specified
		second = 0
	}
	if year < 2000 || year > 2105 || month < 1 || month > 12 || day < 1 || day > 31 || hour > 23 || minute > 59 || second > 59 {
		return 0, false, format.At(field, at, format.ErrValue, "%04d-%02d-%02d %02d:%02d:%02d, want a whole date-time from 2000 to 2105", year, month, day, hour, minute, second)
	}
	deviation := binary.BigEndian.Uint16(b[9:])
	if deviation != noDeviation {
		minutes := int(int16(deviation))
		if minutes < -840 || minutes > 720 {
			return 0, false, format.At(field, at+9, format.ErrValue, "deviation of %d minutes", minutes)
		}
		zone = time.FixedZone("", -60*minutes)
	}
	t, again, ok := format.Local(year, month, day, hour, minute, second, zone)
	if !ok {
		return 0, false, format.At(field, at, format.ErrValue, "clocks there never show %04d-%02d-%02d %02d:%02d", year, month, day, hour, minute)
	}
	status := b[11]
	if deviation == noDeviation && status != noStatus && status&summerTime == 0 {
		t = again
	}
	return uint32(t), status == noStatus || status&clockInvalid == 0, nil
}

// DateTime gives the 12 octets of an instant, in UTC and without hundredths.
func DateTime(t time.Time) []byte {
	t = t.UTC()
	weekday := byte(t.Weekday())
	if weekday == 0 {
		weekday = 7
	}
	b := binary.BigEndian.AppendUint16(nil, uint16(t.Year()))
	return append(b, byte(t.Month()), byte(t.Day()), weekday, byte(t.Hour()), byte(t.Minute()), byte(t.Second()), 0, 0, 0, 0)
}
