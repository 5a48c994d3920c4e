-- The audit trail, see package audit. The triggers keep mistakes off; against intent there are the hashes.
CREATE TABLE audit (sequence INTEGER PRIMARY KEY, hash BLOB NOT NULL, doc BLOB NOT NULL);
CREATE TRIGGER audit_no_update BEFORE UPDATE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
CREATE TRIGGER audit_no_delete BEFORE DELETE ON audit BEGIN SELECT RAISE(ABORT, 'the audit trail is only added to'); END;
