-- Meters behind meters, such as gas meters on the M-Bus, and their registers: value * 10^scale units (1 Wh, 2 J, 3 m3).
CREATE TABLE submeter (ordinal INTEGER PRIMARY KEY, device INTEGER NOT NULL, id TEXT NOT NULL, channel INTEGER NOT NULL, medium INTEGER NOT NULL);
CREATE TABLE submeter_value (submeter INTEGER NOT NULL, time INTEGER NOT NULL, value INTEGER NOT NULL, unit INTEGER NOT NULL, scale INTEGER NOT NULL,
	PRIMARY KEY (submeter, time)) WITHOUT ROWID;
CREATE INDEX submeter_value_time ON submeter_value (time);
