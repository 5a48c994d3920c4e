-- The blocks of a commit of one day and channel, turned round, see store.PackSlots: part 0 is the head, the others are spans of the day. A day
-- whose row 0 of part 0 is there has all of its blocks here.
CREATE TABLE day_slot (day integer NOT NULL, channel smallint NOT NULL, part smallint NOT NULL, number bigint NOT NULL, data bytea NOT NULL, PRIMARY KEY (day, channel, part, number));
-- Not compressed: it is packed.
ALTER TABLE day_slot ALTER data SET STORAGE EXTERNAL;
