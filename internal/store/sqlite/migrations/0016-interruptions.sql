-- Interruptions of single meters' supply, and planned work.
CREATE TABLE interruption (id INTEGER PRIMARY KEY, outage INTEGER NOT NULL, device INTEGER NOT NULL, start INTEGER NOT NULL, finish INTEGER NOT NULL, flags INTEGER NOT NULL);
CREATE INDEX interruption_open ON interruption (id) WHERE finish = 0;
CREATE INDEX interruption_outage ON interruption (outage, id) WHERE outage <> 0;
CREATE INDEX interruption_start ON interruption (start);
CREATE TABLE maintenance (id INTEGER PRIMARY KEY, start INTEGER NOT NULL, finish INTEGER NOT NULL, doc BLOB NOT NULL);
