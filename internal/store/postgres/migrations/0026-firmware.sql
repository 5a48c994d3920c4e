-- Firmware images, and their roll-outs to meters.
CREATE TABLE image (id bigint PRIMARY KEY, recorded bigint NOT NULL, doc bytea NOT NULL, data bytea NOT NULL);
ALTER TABLE image ALTER COLUMN data SET STORAGE EXTERNAL;
CREATE TABLE roll_out (id bigint PRIMARY KEY, open boolean NOT NULL, doc bytea NOT NULL);
CREATE INDEX roll_out_open ON roll_out (id) WHERE open;
CREATE TABLE roll_out_member (roll_out bigint NOT NULL, device bigint NOT NULL, state smallint NOT NULL, reason smallint NOT NULL, changed bigint NOT NULL,
	PRIMARY KEY (roll_out, device));
