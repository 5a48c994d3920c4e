package snlink

// Counter is a Conn that counts what went wrong on it.
type Counter interface {
	// Counts calls add for each of its counts since it was opened. The names are constant: lower case, joined by '_'.
	Counts(add func(what string, n uint64))
}

// Counts gives what c counts, and what the Conns do that it stands on.
//
//	handshakes_failed, handshakes_refused  of DTLS: not proven, or at a bound
//	received_dropped                       messages, because the reader was too slow
//	streams_refused, unsent                streams at the bound; messages, because a stream was too slow
//	wrappers_refused                       of forwarders: malformed, or from one that is not trusted
//	parts_spoiled                          fragments of which the rest did not come
//	noise, damaged                         octets of no frame on a serial line; frames with a wrong check sum
func Counts(c Conn, add func(what string, n uint64)) {
	if k, ok := c.(Counter); ok {
		k.Counts(add)
	}
}

// Counts implements Counter.
func (d *DTLS) Counts(add func(string, uint64)) {
	add("handshakes_failed", d.failed.Load())
	add("handshakes_refused", d.refused.Load())
	add("received_dropped", d.Dropped())
}

// Counts implements Counter.
func (l *Streams) Counts(add func(string, uint64)) {
	add("streams_refused", l.refused.Load())
	add("unsent", l.unsent.Load())
	add("received_dropped", l.Dropped())
}

// Counts implements Counter.
func (f *Forwarded) Counts(add func(string, uint64)) {
	add("wrappers_refused", f.refused.Load())
	Counts(f.inner, add)
}

// Counts implements Counter.
func (f *Fragmented) Counts(add func(string, uint64)) {
	add("parts_spoiled", f.spoiled.Load())
	Counts(f.inner, add)
}

// Counts implements Counter.
func (s *Stream) Counts(add func(string, uint64)) {
	add("noise", s.noise.Load())
	add("damaged", s.damaged.Load())
}

// Counts implements Counter. What was counted on a link that is gone is counted still.
func (r *Reopened) Counts(add func(string, uint64)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sum := make(map[string]uint64, len(r.gone))
	for what, n := range r.gone {
		sum[what] = n
	}
	if r.now != nil {
		Counts(r.now, func(what string, n uint64) { sum[what] += n })
	}
	for what, n := range sum {
		add(what, n)
	}
}
