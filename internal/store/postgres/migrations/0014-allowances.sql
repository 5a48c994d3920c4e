-- What is left to operators and on feeders of what may be disconnected, and who is quarantined.
CREATE TABLE allowance (name text PRIMARY KEY, doc bytea NOT NULL);
