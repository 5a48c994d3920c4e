-- Lists of what people asked for, and of what one meter was told, are not to read all that the centre asks by itself.
ALTER TABLE command ADD COLUMN own INTEGER NOT NULL DEFAULT 0;
ALTER TABLE command ADD COLUMN meter TEXT NOT NULL DEFAULT '';
UPDATE command SET
	own = coalesce(json_extract(CAST(doc AS TEXT), '$.by') IN ('centre', 'outage-verification'), 0),
	meter = coalesce(json_extract(CAST(doc AS TEXT), '$.target.meter'), '')
	WHERE json_valid(CAST(doc AS TEXT));
CREATE INDEX command_own ON command (own, id);
CREATE INDEX command_meter ON command (meter, id) WHERE meter <> '';
