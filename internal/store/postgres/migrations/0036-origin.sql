-- Lists of what people asked for, and of what one meter was told, are not to read all that the centre asks by itself.
ALTER TABLE command ADD COLUMN own boolean NOT NULL DEFAULT false;
ALTER TABLE command ADD COLUMN meter text NOT NULL DEFAULT '';
UPDATE command SET
	own = convert_from(doc, 'UTF8') ~ '"by":"(centre|outage-verification)"',
	meter = coalesce(substring(convert_from(doc, 'UTF8') from '"target":{"meter":"([^"]*)"'), '');
CREATE INDEX command_own ON command (own, id);
CREATE INDEX command_meter ON command (meter, id) WHERE meter <> '';
