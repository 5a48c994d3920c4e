-- Interruptions of single meters' supply, and planned work.
CREATE TABLE interruption (id bigint PRIMARY KEY, outage bigint NOT NULL, device bigint NOT NULL, start bigint NOT NULL, finish bigint NOT NULL, flags smallint NOT NULL);
CREATE INDEX interruption_open ON interruption (id) WHERE finish = 0;
CREATE INDEX interruption_outage ON interruption (outage, id) WHERE outage <> 0;
CREATE INDEX interruption_start ON interruption (start);
CREATE TABLE maintenance (id bigint PRIMARY KEY, start bigint NOT NULL, finish bigint NOT NULL, doc bytea NOT NULL);
