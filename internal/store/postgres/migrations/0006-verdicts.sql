-- What was judged of days, beside the blocks, which hold only what came from the meters. doc is JSON.
CREATE TABLE verdict (
	day integer NOT NULL, channel smallint NOT NULL, device bigint NOT NULL, version bigint NOT NULL,
	length smallint NOT NULL, recorded bigint NOT NULL, quality smallint NOT NULL, raw bigint NOT NULL,
	rules text NOT NULL, who text NOT NULL, doc bytea,
	PRIMARY KEY (day, channel, device, version)
);

CREATE TABLE finding (
	id bigint PRIMARY KEY, day integer NOT NULL, channel smallint NOT NULL, device bigint NOT NULL, version bigint NOT NULL,
	rule text NOT NULL, severity smallint NOT NULL, start bigint NOT NULL, finish bigint NOT NULL,
	recorded bigint NOT NULL, superseded bigint NOT NULL, doc bytea NOT NULL
);
CREATE INDEX finding_day ON finding (device, day, channel);

CREATE TABLE edit (id bigint PRIMARY KEY, created bigint NOT NULL, open boolean NOT NULL, doc bytea NOT NULL);
CREATE INDEX edit_open ON edit (id) WHERE open;

CREATE TABLE rule_set (id text PRIMARY KEY, recorded bigint NOT NULL, text text NOT NULL);
