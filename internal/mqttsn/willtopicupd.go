package mqttsn

// Willtopicupd changes the will topic; its empty form deletes topic and message
// (MQTT-SN 1.2, 5.4.22).
type Willtopicupd struct {
	QoS    QoS // 0, 1 or 2
	Retain bool
	Topic  string // "": the will is deleted
}

// Type implements Message.
func (Willtopicupd) Type() MsgType { return WILLTOPICUPD }

// DecodeWilltopicupd reads the body of a WILLTOPICUPD. Without a topic, with or without the flags
// octet before it, it is the empty form.
func DecodeWilltopicupd(body []byte) (Willtopicupd, error) {
	qos, retain, topic, err := decodeWillTopic(WILLTOPICUPD, body)
	return Willtopicupd{QoS: qos, Retain: retain, Topic: topic}, err
}

// Append implements Message. The empty form has two octets.
func (m Willtopicupd) Append(dst []byte) ([]byte, error) {
	return appendWillTopic(dst, WILLTOPICUPD, m.QoS, m.Retain, m.Topic)
}
