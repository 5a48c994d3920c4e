-- What was judged of days, beside the blocks, which hold only what came from the meters.
CREATE TABLE verdict (
	day INTEGER NOT NULL, channel INTEGER NOT NULL, device INTEGER NOT NULL, version INTEGER NOT NULL,
	length INTEGER NOT NULL, recorded INTEGER NOT NULL, quality INTEGER NOT NULL, raw INTEGER NOT NULL,
	rules TEXT NOT NULL, who TEXT NOT NULL, doc BLOB,
	PRIMARY KEY (day, channel, device, version)
) WITHOUT ROWID;

CREATE TABLE finding (
	id INTEGER PRIMARY KEY, day INTEGER NOT NULL, channel INTEGER NOT NULL, device INTEGER NOT NULL, version INTEGER NOT NULL,
	rule TEXT NOT NULL, severity INTEGER NOT NULL, start INTEGER NOT NULL, finish INTEGER NOT NULL,
	recorded INTEGER NOT NULL, superseded INTEGER NOT NULL, doc BLOB NOT NULL
);
CREATE INDEX finding_day ON finding (device, day, channel);

CREATE TABLE edit (id INTEGER PRIMARY KEY, created INTEGER NOT NULL, open INTEGER NOT NULL, doc BLOB NOT NULL);
CREATE INDEX edit_open ON edit (id) WHERE open = 1;

CREATE TABLE rule_set (id TEXT PRIMARY KEY, recorded INTEGER NOT NULL, text TEXT NOT NULL) WITHOUT ROWID;
