-- What was known of days that were not sealed yet, right before a value in them changed; rows as in block.
CREATE TABLE draft (day INTEGER NOT NULL, channel INTEGER NOT NULL, device INTEGER NOT NULL, recorded INTEGER NOT NULL, length INTEGER NOT NULL,
	missing INTEGER NOT NULL, data BLOB NOT NULL, PRIMARY KEY (day, channel, device, recorded)) WITHOUT ROWID;
CREATE INDEX draft_recorded ON draft (recorded);
-- When the device came into the books, and when it became known that it measures export; 0: before this step.
ALTER TABLE device ADD COLUMN recorded INTEGER NOT NULL DEFAULT 0;
ALTER TABLE device ADD COLUMN exporting INTEGER NOT NULL DEFAULT 0;
-- Where each device hung since when.
CREATE TABLE move (device INTEGER NOT NULL, recorded INTEGER NOT NULL, path TEXT NOT NULL, PRIMARY KEY (device, recorded)) WITHOUT ROWID;
CREATE INDEX move_recorded ON move (recorded);
INSERT INTO move SELECT ordinal, 0, path FROM device WHERE path <> '';
-- Verdicts that say something other than validated.
CREATE INDEX verdict_doc ON verdict (day, channel, device, version) WHERE doc IS NOT NULL;
