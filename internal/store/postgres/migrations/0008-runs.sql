-- Billing runs: questions with the time for which they were asked, by name.
CREATE TABLE billing_run (name text PRIMARY KEY, recorded bigint NOT NULL, doc bytea NOT NULL);
