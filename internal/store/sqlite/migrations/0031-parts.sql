-- What each device's block adds up to, for many blocks of a commit in one row, see store.Parts. A later row counts more than an earlier
-- one. A day with a row without data has blocks from before this step, of which there is none.
CREATE TABLE day_part (day INTEGER NOT NULL, channel INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB, PRIMARY KEY (day, channel, number)) WITHOUT ROWID;
INSERT INTO day_part SELECT day, channel, 0, NULL FROM day_tally;
