CREATE TABLE location (
	kind TEXT NOT NULL, id TEXT NOT NULL, parent TEXT NOT NULL, sequence INTEGER NOT NULL, seen INTEGER NOT NULL,
	PRIMARY KEY (kind, id)
) WITHOUT ROWID;

CREATE TABLE stream (name TEXT PRIMARY KEY, sequence INTEGER NOT NULL) WITHOUT ROWID;

CREATE TABLE device (
	ordinal INTEGER PRIMARY KEY, kind TEXT NOT NULL, id TEXT NOT NULL, path TEXT NOT NULL,
	sequence INTEGER NOT NULL, firmware INTEGER NOT NULL, interval INTEGER NOT NULL, capabilities INTEGER NOT NULL,
	flags INTEGER NOT NULL, oldest INTEGER NOT NULL, expected INTEGER NOT NULL, first_seen INTEGER NOT NULL,
	last_seen INTEGER NOT NULL, complete INTEGER NOT NULL,
	link INTEGER NOT NULL, link_since INTEGER NOT NULL, power INTEGER NOT NULL, power_since INTEGER NOT NULL,
	breaker INTEGER NOT NULL, breaker_since INTEGER NOT NULL,
	reg_time INTEGER NOT NULL, reg_import INTEGER NOT NULL, reg_export INTEGER NOT NULL, reg_power INTEGER NOT NULL,
	reg_voltage INTEGER NOT NULL
);

CREATE TABLE chunk (
	id INTEGER PRIMARY KEY, day INTEGER NOT NULL, recorded INTEGER NOT NULL, intervals INTEGER NOT NULL, data BLOB NOT NULL
);
CREATE INDEX chunk_day ON chunk (day);

CREATE TABLE block (
	day INTEGER NOT NULL, channel INTEGER NOT NULL, device INTEGER NOT NULL, version INTEGER NOT NULL,
	length INTEGER NOT NULL, recorded INTEGER NOT NULL, missing INTEGER NOT NULL, data BLOB NOT NULL,
	PRIMARY KEY (day, channel, device, version)
) WITHOUT ROWID;
CREATE INDEX block_missing ON block (day, channel, device, version) WHERE missing > 0;

CREATE TABLE day_total (day INTEGER PRIMARY KEY, received INTEGER NOT NULL, recovered INTEGER NOT NULL);

CREATE TABLE command (id INTEGER PRIMARY KEY, created INTEGER NOT NULL, open INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX command_open ON command (id) WHERE open = 1;

CREATE TABLE outage (id INTEGER PRIMARY KEY, start INTEGER NOT NULL, finish INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX outage_open ON outage (id) WHERE finish = 0;

CREATE TABLE member (
	number INTEGER NOT NULL, device TEXT NOT NULL, confirmed INTEGER NOT NULL, PRIMARY KEY (number, device)
) WITHOUT ROWID;
