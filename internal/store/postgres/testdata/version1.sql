CREATE FUNCTION fixture.wattbus_channel(c integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT CASE c WHEN 0 THEN 'import' WHEN 1 THEN 'export' ELSE c::text END $$;
CREATE FUNCTION fixture.wattbus_quality(q integer) RETURNS text
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    AS $$ SELECT (ARRAY['missing', 'raw', 'recovered', 'validated', 'estimated', 'edited'])[q + 1] $$;
CREATE FUNCTION fixture.wattbus_unpack(data bytea, length integer) RETURNS TABLE(slot integer, wh bigint, quality smallint, register bigint)
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
DECLARE
	slots integer := 1440 / length;
	format integer := get_byte(data, 0);
	at integer := 1;
	v bigint;
	n integer;
	boundary integer := 0;
	anchors bigint[];
	quals integer[] := '{}';
	has boolean[] := '{}';
	count integer := 0;
	factor bigint;
	low bigint;
	prev bigint;
	remaining integer := 0;
	width integer;
	acc bigint;
	have integer;
	reg bigint;
BEGIN
	IF format & 16 <> 0 THEN
		SELECT u.value, u.next INTO reg, at FROM wattbus_uvarint(data, at) u;
	END IF;
	IF format & 64 <> 0 THEN
		anchors := array_fill(NULL::bigint, ARRAY[slots]);
		prev := coalesce(reg, 0);
		SELECT u.value, u.next INTO n, at FROM wattbus_uvarint(data, at) u;
		FOR i IN 1 .. n LOOP
			SELECT boundary + u.value, u.next INTO boundary, at FROM wattbus_uvarint(data, at) u;
			SELECT u.value, u.next INTO v, at FROM wattbus_uvarint(data, at) u;
			prev := prev + ((v >> 1) & 9223372036854775807 # -(v & 1));
			anchors[boundary] := prev;
		END LOOP;
	END IF;
	WHILE cardinality(quals) < slots LOOP
		SELECT u.value, u.next INTO v, at FROM wattbus_uvarint(data, at) u;
		n := v >> 4;
		quals := quals || array_fill((v & 7)::integer, ARRAY[n]);
		has := has || array_fill(v & 8 <> 0, ARRAY[n]);
		IF v & 8 <> 0 THEN count := count + n; END IF;
	END LOOP;
	IF count > 0 THEN
		SELECT u.value, u.next INTO factor, at FROM wattbus_uvarint(data, at) u;
		SELECT u.value, u.next INTO low, at FROM wattbus_uvarint(data, at) u;
		prev := low;
	END IF;
	FOR i IN 1 .. slots LOOP
		slot := i - 1;
		quality := quals[i];
		IF NOT has[i] THEN
			wh := NULL;
		ELSE
			IF remaining = 0 THEN
				remaining := least(8, count); count := count - remaining;
				width := get_byte(data, at); at := at + 1;
				acc := 0; have := 0;
			END IF;
			WHILE have < width LOOP
				acc := acc | (get_byte(data, at)::bigint << have); at := at + 1; have := have + 8;
			END LOOP;
			v := acc & ((1::bigint << width) - 1);
			acc := acc >> width; have := have - width; remaining := remaining - 1;
			IF format & 32 <> 0 THEN
				prev := prev + ((v >> 1) # -(v & 1));
				v := prev;
			ELSE
				v := v + low;
			END IF;
			wh := v * factor;
		END IF;
		reg := coalesce(anchors[i], reg + wh);
		register := reg;
		RETURN NEXT;
	END LOOP;
END $$;
CREATE FUNCTION fixture.wattbus_uvarint(data bytea, at integer, OUT value bigint, OUT next integer) RETURNS record
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
DECLARE
	b integer;
	shift integer := 0;
BEGIN
	value := 0;
	next := at;
	LOOP
		b := get_byte(data, next);
		next := next + 1;
		value := value | ((b & 127)::bigint << shift);
		shift := shift + 7;
		EXIT WHEN b < 128;
	END LOOP;
END $$;
CREATE TABLE fixture.block (
    day integer NOT NULL,
    channel smallint NOT NULL,
    device bigint NOT NULL,
    version bigint NOT NULL,
    length smallint NOT NULL,
    recorded bigint NOT NULL,
    missing integer NOT NULL,
    data bytea NOT NULL
);
ALTER TABLE ONLY fixture.block ALTER COLUMN data SET STORAGE PLAIN;
CREATE TABLE fixture.chunk (
    id bigint NOT NULL,
    day integer NOT NULL,
    recorded bigint NOT NULL,
    intervals integer NOT NULL,
    device integer[] NOT NULL,
    kind integer[] NOT NULL,
    start integer[] NOT NULL,
    wh integer[] NOT NULL,
    register bigint[] NOT NULL
);
ALTER TABLE ONLY fixture.chunk ALTER COLUMN device SET STORAGE EXTERNAL;
ALTER TABLE ONLY fixture.chunk ALTER COLUMN kind SET STORAGE EXTERNAL;
ALTER TABLE ONLY fixture.chunk ALTER COLUMN start SET STORAGE EXTERNAL;
ALTER TABLE ONLY fixture.chunk ALTER COLUMN wh SET STORAGE EXTERNAL;
ALTER TABLE ONLY fixture.chunk ALTER COLUMN register SET STORAGE EXTERNAL;
ALTER TABLE fixture.chunk ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME fixture.chunk_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);
CREATE TABLE fixture.command (
    id bigint NOT NULL,
    created bigint NOT NULL,
    open boolean NOT NULL,
    doc bytea NOT NULL
);
CREATE TABLE fixture.day_total (
    day integer NOT NULL,
    received bigint NOT NULL,
    recovered bigint NOT NULL
);
CREATE TABLE fixture.device (
    ordinal bigint NOT NULL,
    kind text NOT NULL,
    id text NOT NULL,
    path text NOT NULL,
    sequence bigint NOT NULL,
    firmware bigint NOT NULL,
    "interval" integer NOT NULL,
    capabilities integer NOT NULL,
    flags integer NOT NULL,
    oldest bigint NOT NULL,
    expected bigint NOT NULL,
    first_seen bigint NOT NULL,
    last_seen bigint NOT NULL,
    complete bigint NOT NULL,
    link smallint NOT NULL,
    link_since bigint NOT NULL,
    power smallint NOT NULL,
    power_since bigint NOT NULL,
    breaker smallint NOT NULL,
    breaker_since bigint NOT NULL,
    reg_time bigint NOT NULL,
    reg_import bigint NOT NULL,
    reg_export bigint NOT NULL,
    reg_power integer NOT NULL,
    reg_voltage integer NOT NULL,
    sleep_from bigint NOT NULL,
    sleep_every bigint NOT NULL
)
WITH (fillfactor='70');
CREATE VIEW fixture.intervals AS
 SELECT d.id AS meter,
    fixture.wattbus_channel((b.channel)::integer) AS channel,
    to_timestamp((((b.day * (86400)::bigint) + ((u.slot * b.length) * 60)))::double precision) AS start,
    b.length AS minutes,
    u.wh,
    fixture.wattbus_quality((u.quality)::integer) AS quality,
    u.register,
    b.version,
    to_timestamp((b.recorded)::double precision) AS recorded,
    true AS sealed
   FROM ((fixture.block b
     JOIN fixture.device d ON ((d.ordinal = b.device)))
     CROSS JOIN LATERAL fixture.wattbus_unpack(b.data, (b.length)::integer) u(slot, wh, quality, register))
  WHERE (NOT (EXISTS ( SELECT 1
           FROM fixture.block n
          WHERE ((n.day = b.day) AND (n.channel = b.channel) AND (n.device = b.device) AND (n.version > b.version)))))
UNION ALL
 SELECT open_days.id AS meter,
    open_days.wattbus_channel AS channel,
    open_days.to_timestamp AS start,
    open_days.int2 AS minutes,
    open_days."case" AS wh,
    open_days.wattbus_quality AS quality,
    open_days.case_1 AS register,
    open_days.int8 AS version,
    open_days.to_timestamp_1 AS recorded,
    open_days."?column?" AS sealed
   FROM ( SELECT DISTINCT ON (r.device, ((r.kind >> 20) & 15), c.day, r.start) d.id,
            fixture.wattbus_channel(((r.kind >> 20) & 15)) AS wattbus_channel,
            to_timestamp((((c.day * (86400)::bigint) + r.start))::double precision) AS to_timestamp,
            ((r.kind & 65535))::smallint AS int2,
                CASE
                    WHEN (r.wh = '-1'::integer) THEN NULL::bigint
                    ELSE ((r.wh)::bigint & '4294967295'::bigint)
                END AS "case",
            fixture.wattbus_quality(((r.kind >> 16) & 15)) AS wattbus_quality,
                CASE
                    WHEN ((r.kind & 16777216) <> 0) THEN r.register
                    ELSE NULL::bigint
                END AS "case",
            (0)::bigint AS int8,
            to_timestamp((c.recorded)::double precision) AS to_timestamp,
            false AS "?column?"
           FROM ((fixture.chunk c
             CROSS JOIN LATERAL UNNEST(c.device, c.kind, c.start, c.wh, c.register) r(device, kind, start, wh, register))
             JOIN fixture.device d ON ((d.ordinal = ((r.device)::bigint & '4294967295'::bigint))))
          WHERE (NOT (EXISTS ( SELECT 1
                   FROM fixture.block b
                  WHERE ((b.day = c.day) AND (b.channel = ((r.kind >> 20) & 15)) AND (b.device = d.ordinal)))))
          ORDER BY r.device, ((r.kind >> 20) & 15), c.day, r.start, c.id DESC) open_days(id, wattbus_channel, to_timestamp, int2, "case", wattbus_quality, case_1, int8, to_timestamp_1, "?column?");
CREATE TABLE fixture.location (
    kind text NOT NULL,
    id text NOT NULL,
    parent text NOT NULL,
    sequence bigint NOT NULL,
    seen bigint NOT NULL
);
CREATE TABLE fixture.member (
    number bigint NOT NULL,
    device text NOT NULL,
    confirmed bigint NOT NULL
);
CREATE TABLE fixture.outage (
    id bigint NOT NULL,
    start bigint NOT NULL,
    finish bigint NOT NULL,
    doc bytea NOT NULL
);
CREATE TABLE fixture.schema_version (
    version integer NOT NULL
);
CREATE TABLE fixture.stream (
    name text NOT NULL,
    sequence bigint NOT NULL
);
INSERT INTO fixture.block VALUES (2, 0, 1, 1, 60, 259201, 0, '\x318094ebdc038903011402a8aa02aaaa02aaaa');
INSERT INTO fixture.block VALUES (2, 0, 1, 2, 60, 259202, 1, '\x718094ebdc03020680a8d6b90712f5cfacf30e4910b90201460390444902aaaa02aa2a');
INSERT INTO fixture.block VALUES (2, 1, 2, 1, 60, 259201, 0, '\x318094ebdc03890301840702a8aa02aaaa02aaaa');
INSERT INTO fixture.chunk OVERRIDING SYSTEM VALUE VALUES (1, 3, 259277, 40, '{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39}', '{65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566,16842782,16842782,65566}', '{0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0}', '{0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,15,16,17,18,19,20,21,22,23,24,25,26,27,28,29,30,31,32,33,34,35,36,37,38,39}', '{0,1000000,2000000,0,4000000,5000000,0,7000000,8000000,0,10000000,11000000,0,13000000,14000000,0,16000000,17000000,0,19000000,20000000,0,22000000,23000000,0,25000000,26000000,0,28000000,29000000,0,31000000,32000000,0,34000000,35000000,0,37000000,38000000,0}');
INSERT INTO fixture.chunk OVERRIDING SYSTEM VALUE VALUES (2, 4, 345677, 3, '{0,1,2}', '{65566,16842782,16842782}', '{0,0,0}', '{0,1,2}', '{0,1000000,2000000}');
INSERT INTO fixture.command VALUES (7, 5, true, '\x7b226964223a377d');
INSERT INTO fixture.command VALUES (8, 6, false, '\x7b226964223a387d');
INSERT INTO fixture.day_total VALUES (2, 70, 1);
INSERT INTO fixture.device VALUES (0, 'meter', 'M0', 'C1/C7', 0, 2147483648, 30, 9, 5, 100, 200, 300, 400, 500, 1, 1, 2, 2, 4, 3, 9, -1, 7, -5, 2300, 11, 4294967295);
INSERT INTO fixture.device VALUES (1, 'meter', 'M1', 'C1/C7', 1, 2147483648, 30, 9, 5, 100, 200, 300, 400, 500, 1, 1, 2, 2, 4, 3, 9, -1, 7, -5, 2300, 11, 4294967295);
INSERT INTO fixture.device VALUES (2, 'meter', 'M2', 'C1/C7', 2, 2147483648, 30, 9, 5, 100, 200, 300, 400, 500, 1, 1, 2, 2, 4, 3, 9, -1, 7, -5, 2300, 11, 4294967295);
INSERT INTO fixture.location VALUES ('concentrator', 'C1', '', 0, 1);
INSERT INTO fixture.location VALUES ('meter', 'M1', 'C1', 4000000000, 7);
INSERT INTO fixture.member VALUES (12, 'M1', 3);
INSERT INTO fixture.member VALUES (12, 'M2', 0);
INSERT INTO fixture.outage VALUES (9, 5, 9, '\x7b226964223a397d');
INSERT INTO fixture.schema_version VALUES (1);
INSERT INTO fixture.stream VALUES ('S', 4711);
SELECT pg_catalog.setval('fixture.chunk_id_seq', 2, true);
ALTER TABLE ONLY fixture.block
    ADD CONSTRAINT block_pkey PRIMARY KEY (day, channel, device, version);
ALTER TABLE ONLY fixture.chunk
    ADD CONSTRAINT chunk_pkey PRIMARY KEY (id);
ALTER TABLE ONLY fixture.command
    ADD CONSTRAINT command_pkey PRIMARY KEY (id);
ALTER TABLE ONLY fixture.day_total
    ADD CONSTRAINT day_total_pkey PRIMARY KEY (day);
ALTER TABLE ONLY fixture.device
    ADD CONSTRAINT device_pkey PRIMARY KEY (ordinal);
ALTER TABLE ONLY fixture.location
    ADD CONSTRAINT location_pkey PRIMARY KEY (kind, id);
ALTER TABLE ONLY fixture.member
    ADD CONSTRAINT member_pkey PRIMARY KEY (number, device);
ALTER TABLE ONLY fixture.outage
    ADD CONSTRAINT outage_pkey PRIMARY KEY (id);
ALTER TABLE ONLY fixture.stream
    ADD CONSTRAINT stream_pkey PRIMARY KEY (name);
CREATE INDEX block_missing ON fixture.block USING btree (day, channel, device, version) WHERE (missing > 0);
CREATE INDEX chunk_day ON fixture.chunk USING btree (day);
CREATE INDEX command_open ON fixture.command USING btree (id) WHERE open;
CREATE INDEX outage_open ON fixture.outage USING btree (id) WHERE (finish = 0);
