-- Times are seconds since 1970 UTC, days are days since then, energy is Wh. PostgreSQL has no unsigned integers: what has 32
-- bits is a bigint, or in arrays an integer with the same bits; registers of 64 bits are bigints with the same bits.

CREATE TABLE location (
	kind text NOT NULL, id text NOT NULL, parent text NOT NULL, sequence bigint NOT NULL, seen bigint NOT NULL,
	PRIMARY KEY (kind, id)
);

CREATE TABLE stream (name text PRIMARY KEY, sequence bigint NOT NULL);

CREATE TABLE device (
	ordinal bigint PRIMARY KEY, kind text NOT NULL, id text NOT NULL, path text NOT NULL,
	sequence bigint NOT NULL, firmware bigint NOT NULL, interval integer NOT NULL, capabilities integer NOT NULL,
	flags integer NOT NULL, oldest bigint NOT NULL, expected bigint NOT NULL, first_seen bigint NOT NULL,
	last_seen bigint NOT NULL, complete bigint NOT NULL,
	link smallint NOT NULL, link_since bigint NOT NULL, power smallint NOT NULL, power_since bigint NOT NULL,
	breaker smallint NOT NULL, breaker_since bigint NOT NULL,
	reg_time bigint NOT NULL, reg_import bigint NOT NULL, reg_export bigint NOT NULL, reg_power integer NOT NULL,
	reg_voltage integer NOT NULL, sleep_from bigint NOT NULL, sleep_every bigint NOT NULL
) WITH (fillfactor = 70);

-- What one commit brought of one day. kind is length in minutes, plus quality << 16, plus channel << 20, plus 1 << 24 where
-- there is a register; start is seconds after the day's beginning; wh is -1 where only the register at the end is known.
CREATE TABLE chunk (
	id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, day integer NOT NULL, recorded bigint NOT NULL, intervals integer NOT NULL,
	device integer[] NOT NULL, kind integer[] NOT NULL, start integer[] NOT NULL, wh integer[] NOT NULL, register bigint[] NOT NULL
);
-- Not compressed: it would cost more than all the rest, and chunks live for a day only.
ALTER TABLE chunk ALTER device SET STORAGE EXTERNAL, ALTER kind SET STORAGE EXTERNAL, ALTER start SET STORAGE EXTERNAL,
	ALTER wh SET STORAGE EXTERNAL, ALTER register SET STORAGE EXTERNAL;
CREATE INDEX chunk_day ON chunk (day);

-- One device's day, packed: see wattbus_unpack. missing counts expected intervals without a value.
CREATE TABLE block (
	day integer NOT NULL, channel smallint NOT NULL, device bigint NOT NULL, version bigint NOT NULL,
	length smallint NOT NULL, recorded bigint NOT NULL, missing integer NOT NULL, data bytea NOT NULL,
	PRIMARY KEY (day, channel, device, version)
);
ALTER TABLE block ALTER COLUMN data SET STORAGE PLAIN;
CREATE INDEX block_missing ON block (day, channel, device, version) WHERE missing > 0;

CREATE TABLE day_total (day integer PRIMARY KEY, received bigint NOT NULL, recovered bigint NOT NULL);

CREATE TABLE command (id bigint PRIMARY KEY, created bigint NOT NULL, open boolean NOT NULL, doc bytea NOT NULL);
CREATE INDEX command_open ON command (id) WHERE open;

CREATE TABLE outage (id bigint PRIMARY KEY, start bigint NOT NULL, finish bigint NOT NULL, doc bytea NOT NULL);
CREATE INDEX outage_open ON outage (id) WHERE finish = 0;

CREATE TABLE member (number bigint NOT NULL, device text NOT NULL, confirmed bigint NOT NULL, PRIMARY KEY (number, device));

-- wattbus_uvarint reads an integer of 7 bits a byte, lowest first, at a place, and says where it ends.
CREATE FUNCTION wattbus_uvarint(data bytea, at integer, OUT value bigint, OUT next integer)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
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

-- wattbus_unpack shows a packed block: slot counts from 0, wh is null where there is no value, quality as in wattbus_quality,
-- register is at the slot's end and null where it is not known. The format:
--   byte     1, plus 16 with a register, plus 32 if differences are packed instead of values, plus 64 with anchors
--   uvarint  register at the day's start, if there is one
--   anchors  registers at other boundaries: uvarint how many, then for each uvarint boundary, as the difference to the one
--            before, and zigzag uvarint register, as the difference to the one before
--   runs     until the day is full: uvarint n << 4 | has value << 3 | quality
--   uvarint  factor, and the smallest value in factors; absent if there is no value
--   groups   of up to 8 values: a byte w, then the integers of w bits, lowest bit first, filled up to a whole byte
CREATE FUNCTION wattbus_unpack(data bytea, length integer)
RETURNS TABLE (slot integer, wh bigint, quality smallint, register bigint)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
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

CREATE FUNCTION wattbus_quality(q integer) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT (ARRAY['missing', 'raw', 'recovered', 'validated', 'estimated', 'edited'])[q + 1] $$;

CREATE FUNCTION wattbus_channel(c integer) RETURNS text LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT CASE c WHEN 0 THEN 'import' WHEN 1 THEN 'export' ELSE c::text END $$;

-- The newest value of each interval: of sealed days from their blocks, of others what the chunks brought last.
CREATE VIEW intervals AS
SELECT d.id AS meter, wattbus_channel(b.channel) AS channel,
	to_timestamp(b.day * 86400::bigint + u.slot * b.length * 60) AS start, b.length AS minutes, u.wh,
	wattbus_quality(u.quality) AS quality, u.register, b.version, to_timestamp(b.recorded) AS recorded, true AS sealed
FROM block b
JOIN device d ON d.ordinal = b.device
CROSS JOIN LATERAL wattbus_unpack(b.data, b.length) u
WHERE NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
UNION ALL
SELECT * FROM (
	SELECT DISTINCT ON (r.device, r.kind >> 20 & 15, c.day, r.start)
		d.id, wattbus_channel(r.kind >> 20 & 15), to_timestamp(c.day * 86400::bigint + r.start), (r.kind & 65535)::smallint,
		CASE WHEN r.wh = -1 THEN NULL ELSE r.wh::bigint & 4294967295 END, wattbus_quality(r.kind >> 16 & 15),
		CASE WHEN r.kind & 16777216 <> 0 THEN r.register END, 0::bigint, to_timestamp(c.recorded), false
	FROM chunk c
	CROSS JOIN LATERAL unnest(c.device, c.kind, c.start, c.wh, c.register) AS r (device, kind, start, wh, register)
	JOIN device d ON d.ordinal = r.device::bigint & 4294967295
	WHERE NOT EXISTS (SELECT 1 FROM block b WHERE b.day = c.day AND b.channel = r.kind >> 20 & 15 AND b.device = d.ordinal)
	ORDER BY r.device, r.kind >> 20 & 15, c.day, r.start, c.id DESC
) open_days;
