package mqttsn

import "strconv"

// ReturnCode answers a request (MQTT-SN 1.2, 5.3.10). Codes from 4 on are reserved
// but sent by some; a client treats them as NotSupported.
type ReturnCode byte

// The return codes.
const (
	Accepted       ReturnCode = 0
	Congestion     ReturnCode = 1 // come again after T_WAIT
	InvalidTopicID ReturnCode = 2 // register again
	NotSupported   ReturnCode = 3
)

// String says the code in words.
func (c ReturnCode) String() string {
	switch c {
	case Accepted:
		return "accepted"
	case Congestion:
		return "rejected: congestion"
	case InvalidTopicID:
		return "rejected: invalid topic id"
	case NotSupported:
		return "rejected: not supported"
	}
	return "rejected: code " + strconv.Itoa(int(c))
}
