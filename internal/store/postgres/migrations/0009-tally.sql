-- What the blocks of a day add up to by slot, see store.Tally; null for days that were sealed before this step.
CREATE TABLE day_tally (day integer NOT NULL, channel smallint NOT NULL, data bytea, PRIMARY KEY (day, channel)) WITH (fillfactor = 50);
INSERT INTO day_tally SELECT DISTINCT day, channel, NULL::bytea FROM block;
