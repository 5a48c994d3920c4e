-- What was known of days that were not sealed yet, right before a value in them changed; rows as in block.
CREATE TABLE draft (
	day integer NOT NULL, channel smallint NOT NULL, device bigint NOT NULL, recorded bigint NOT NULL,
	length smallint NOT NULL, missing integer NOT NULL, data bytea NOT NULL,
	PRIMARY KEY (day, channel, device, recorded)
);
CREATE INDEX draft_recorded ON draft (recorded);
-- Since when each row of a rewritten chunk is known; null: all since the chunk's own time.
ALTER TABLE chunk ADD COLUMN came bigint[];
-- When the device came into the books, and when it became known that it measures export; 0: before this step.
ALTER TABLE device ADD COLUMN recorded bigint NOT NULL DEFAULT 0, ADD COLUMN exporting bigint NOT NULL DEFAULT 0;
-- Where each device hung since when.
CREATE TABLE move (device bigint NOT NULL, recorded bigint NOT NULL, path text NOT NULL, PRIMARY KEY (device, recorded));
CREATE INDEX move_recorded ON move (recorded);
INSERT INTO move SELECT ordinal, 0, path FROM device WHERE path <> '';
-- Verdicts that say something other than validated.
CREATE INDEX verdict_doc ON verdict (day, channel, device, version) WHERE doc IS NOT NULL;
