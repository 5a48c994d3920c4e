-- Sealed messages: the counters that were let through, and the runs of counters that centres took.
CREATE TABLE seal_window (device text NOT NULL, key smallint NOT NULL, event text NOT NULL, seen bytea NOT NULL, PRIMARY KEY (device, key, event));
CREATE TABLE seal_run (run bigint NOT NULL);
