-- Days whose chunks up to one are no more: they are deleted bit by bit in the commits that follow, since many at once would hold those up.
CREATE TABLE dropped (day INTEGER PRIMARY KEY, last INTEGER NOT NULL);
