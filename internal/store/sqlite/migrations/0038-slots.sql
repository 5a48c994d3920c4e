-- The blocks of a commit of one day and channel, turned round, see store.PackSlots: part 0 is the head, the others are spans of the day. A day
-- whose row 0 of part 0 is there has all of its blocks here.
CREATE TABLE day_slot (day INTEGER NOT NULL, channel INTEGER NOT NULL, part INTEGER NOT NULL, number INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (day, channel, part, number));
