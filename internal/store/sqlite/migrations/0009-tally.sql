-- What the blocks of a day add up to by slot, see store.Tally; null for days that were sealed before this step.
CREATE TABLE day_tally (day INTEGER NOT NULL, channel INTEGER NOT NULL, data BLOB, PRIMARY KEY (day, channel)) WITHOUT ROWID;
INSERT INTO day_tally SELECT DISTINCT day, channel, NULL FROM block;
