-- What each device's block adds up to, for many blocks of a commit in one row, see store.Parts. A later row counts more than an earlier
-- one. A day with a row without data has blocks from before this step, of which there is none.
CREATE TABLE day_part (day integer NOT NULL, channel smallint NOT NULL, number bigint NOT NULL, data bytea, PRIMARY KEY (day, channel, number));
-- Not compressed: it is packed.
ALTER TABLE day_part ALTER data SET STORAGE EXTERNAL;
INSERT INTO day_part SELECT day, channel, 0, NULL FROM day_tally;
