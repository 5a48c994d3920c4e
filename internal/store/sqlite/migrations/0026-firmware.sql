-- Firmware images, and their roll-outs to meters.
CREATE TABLE image (id INTEGER PRIMARY KEY, recorded INTEGER NOT NULL, doc BLOB NOT NULL, data BLOB NOT NULL);
CREATE TABLE roll_out (id INTEGER PRIMARY KEY, open INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX roll_out_open ON roll_out (id) WHERE open <> 0;
CREATE TABLE roll_out_member (roll_out INTEGER NOT NULL, device INTEGER NOT NULL, state INTEGER NOT NULL, reason INTEGER NOT NULL, changed INTEGER NOT NULL,
	PRIMARY KEY (roll_out, device)) WITHOUT ROWID;
