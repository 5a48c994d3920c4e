-- Billing runs: questions with the time for which they were asked, by name.
CREATE TABLE billing_run (name TEXT PRIMARY KEY, recorded INTEGER NOT NULL, doc BLOB NOT NULL) WITHOUT ROWID;
