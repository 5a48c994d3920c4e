-- What is left to operators and on feeders of what may be disconnected, and who is quarantined.
CREATE TABLE allowance (name TEXT PRIMARY KEY, doc BLOB NOT NULL) WITHOUT ROWID;
