-- Sealed messages: the counters that were let through, and the runs of counters that centres took.
CREATE TABLE seal_window (device TEXT NOT NULL, key INTEGER NOT NULL, event TEXT NOT NULL, seen BLOB NOT NULL, PRIMARY KEY (device, key, event)) WITHOUT ROWID;
CREATE TABLE seal_run (run INTEGER NOT NULL);
