package api

import "encoding/json"

// AuditRecord is an entry of the audit trail in its chain.
type AuditRecord struct {
	Sequence uint64 `json:"sequence" doc:"From 1, without gaps."`
	Hash     string `json:"hash" doc:"SHA-256 over the hash of the entry before, the sequence and the bytes of entry; see docs/commands.md."`
	// Entry is time, actor, action, subject, meter and detail; its very bytes are hashed.
	Entry json.RawMessage `json:"entry" doc:"What was done: time, actor, action, subject, meter, detail. Its very bytes are hashed."`
}

// AuditHead is the end of the audit trail.
type AuditHead struct {
	Sequence uint64 `json:"sequence"`
	Hash     string `json:"hash"`
	Text     string `json:"text" doc:"Both, as wattbus audit verify --head takes them. Whoever keeps it can tell that the trail was cut off or made anew."`
}

// AuditQuery selects entries; Newest: the newest first, else the oldest. Action is whole, or the part before a point: command. Origin is
// that of CommandQuery: what people and programs did, or what the centre did by itself.
type AuditQuery struct {
	Paging
	Newest  bool   `json:"newest,omitempty"`
	Actor   string `json:"actor,omitempty"`
	Action  string `json:"action,omitempty"`
	Subject string `json:"subject,omitempty"`
	Meter   string `json:"meter,omitempty"`
	Origin  string `json:"origin,omitempty"`
}
