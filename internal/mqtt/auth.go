package mqtt

// Auth is one step of an authentication that takes several, or asks to begin one
// again (MQTT 5, 3.15). Properties name the method and carry its data.
type Auth struct {
	Reason     Reason // ReasonSuccess, ReasonContinueAuthentication or ReasonReauthenticate
	Properties *Properties
}

// DecodeAuth reads the body of an AUTH. The authentication method may be missing
// only where the specification lets the whole body be left out.
func DecodeAuth(v Version, body []byte) (Auth, error) {
	if v != V5 {
		return Auth{}, bad(AUTH, "version", ErrType)
	}
	c := cursor{b: body, t: AUTH}
	var p Auth
	p.Reason, p.Properties = c.reason()
	if err := c.end(); err != nil {
		return Auth{}, err
	}
	if len(body) > 0 && !p.Properties.Has(PropAuthMethod) { // MQTT 5, 3.15.2.2.2
		return Auth{}, bad(AUTH, "authentication method", ErrValue)
	}
	return p, nil
}

// AppendAuth appends an AUTH.
func AppendAuth(dst []byte, v Version, p *Auth) ([]byte, error) {
	if v != V5 {
		return dst, bad(AUTH, "version", ErrType)
	}
	if (p.Reason != ReasonSuccess || p.Properties != nil) && !p.Properties.Has(PropAuthMethod) {
		return dst, bad(AUTH, "authentication method", ErrValue)
	}
	return appendReasonPacket(dst, AUTH, p.Reason, p.Properties)
}
