-- Meters behind meters, such as gas meters on the M-Bus, and their registers: value * 10^scale units (1 Wh, 2 J, 3 m3).
CREATE TABLE submeter (ordinal bigint PRIMARY KEY, device bigint NOT NULL, id text NOT NULL, channel smallint NOT NULL, medium smallint NOT NULL);
CREATE TABLE submeter_value (submeter bigint NOT NULL, time bigint NOT NULL, value bigint NOT NULL, unit smallint NOT NULL, scale smallint NOT NULL,
	PRIMARY KEY (submeter, time));
CREATE INDEX submeter_value_time ON submeter_value USING brin (time);
