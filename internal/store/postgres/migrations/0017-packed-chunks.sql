-- The rows of a chunk are packed in one column: see pack.go. Before, each was an array.
CREATE FUNCTION wattbus_uint(data bytea, at integer, width integer) RETURNS bigint LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
-- << and | have one precedence, from left to right.
SELECT CASE width
	WHEN 0 THEN 0
	WHEN 1 THEN get_byte(data, at)::bigint
	WHEN 2 THEN (get_byte(data, at) << 8 | get_byte(data, at + 1))::bigint
	WHEN 3 THEN (get_byte(data, at) << 8 | get_byte(data, at + 1) << 8 | get_byte(data, at + 2))::bigint
	WHEN 4 THEN get_byte(data, at)::bigint << 8 | get_byte(data, at + 1) << 8 | get_byte(data, at + 2) << 8 | get_byte(data, at + 3)
	ELSE get_byte(data, at)::bigint << 8 | get_byte(data, at + 1) << 8 | get_byte(data, at + 2) << 8 | get_byte(data, at + 3) << 8 |
		get_byte(data, at + 4) << 8 | get_byte(data, at + 5) << 8 | get_byte(data, at + 6) << 8 | get_byte(data, at + 7)
END $$;

-- wattbus_chunk shows the rows of a packed chunk: n counts from 0; start is in seconds since 1970; wh is null where only the register is
-- known, and register where it is not; recorded is null where it is the chunk's.
CREATE FUNCTION wattbus_chunk(data bytea, intervals integer)
RETURNS TABLE (n integer, device bigint, channel integer, length integer, quality integer, start bigint, wh bigint, register bigint, recorded bigint)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE ROWS 10000 AS $$
DECLARE
	flat bytea := data || ''; -- once, and not for each byte that is read
	number integer := wattbus_uint(flat, 1, 2);
	kinds integer[] := ARRAY(SELECT wattbus_uint(flat, 3 + 4 * k, 4)::integer FROM generate_series(0, number - 1) k);
	at integer := 3 + 4 * number;
	o integer[]; -- where the values of the columns begin
	w integer[];
	b bigint[];
	s bigint[];
	i integer;
BEGIN
	FOR c IN 0 .. 5 LOOP
		w := w || wattbus_uint(flat, at + 13 * c, 1)::integer;
		b := b || wattbus_uint(flat, at + 13 * c + 1, 8);
		s := s || wattbus_uint(flat, at + 13 * c + 9, 4);
	END LOOP;
	at := at + 78;
	FOR c IN 1 .. 6 LOOP
		o := o || at;
		at := at + w[c] * intervals;
	END LOOP;
	DECLARE -- an element of an array is found anew for each row
		o1 integer := o[1]; o2 integer := o[2]; o3 integer := o[3]; o4 integer := o[4]; o5 integer := o[5]; o6 integer := o[6];
		w1 integer := w[1]; w2 integer := w[2]; w3 integer := w[3]; w4 integer := w[4]; w5 integer := w[5]; w6 integer := w[6];
		b1 bigint := b[1]; b2 bigint := b[2]; b3 bigint := b[3]; b4 bigint := b[4]; b5 bigint := b[5]; b6 bigint := b[6];
		s1 bigint := s[1]; s2 bigint := s[2]; s3 bigint := s[3]; s4 bigint := s[4]; s5 bigint := s[5]; s6 bigint := s[6];
	BEGIN
		RETURN QUERY SELECT r.i, r.device, r.kind >> 20 & 15, r.kind & 65535, r.kind >> 16 & 15, r.start,
			CASE WHEN r.wh <> 0 THEN r.wh - 1 END, CASE WHEN r.kind & 16777216 <> 0 THEN b5 + s5 * wattbus_uint(flat, o5 + r.i * w5, w5) END,
			nullif(r.recorded, 0)
		FROM (
			SELECT g.i, kinds[1 + b1 + s1 * wattbus_uint(flat, o1 + g.i * w1, w1)] AS kind, b2 + s2 * wattbus_uint(flat, o2 + g.i * w2, w2) AS device,
				b3 + s3 * wattbus_uint(flat, o3 + g.i * w3, w3) AS start, b4 + s4 * wattbus_uint(flat, o4 + g.i * w4, w4) AS wh,
				b6 + s6 * wattbus_uint(flat, o6 + g.i * w6, w6) AS recorded
			FROM generate_series(0, intervals - 1) g (i) OFFSET 0 -- so that each is read once
		) r;
	END;
END $$;

ALTER TABLE chunk ADD COLUMN data bytea;
-- Not compressed: it is packed.
ALTER TABLE chunk ALTER data SET STORAGE EXTERNAL;
UPDATE chunk SET data = '\x01'::bytea || int2send(cardinality(k.kinds)::smallint)
	|| coalesce((SELECT string_agg(int4send(v), ''::bytea ORDER BY n) FROM unnest(k.kinds) WITH ORDINALITY u (v, n)), '')
	|| '\x02'::bytea || int8send(0) || int4send(1) || '\x04'::bytea || int8send(0) || int4send(1)
	|| '\x08'::bytea || int8send(0) || int4send(1) || '\x08'::bytea || int8send(0) || int4send(1)
	|| '\x08'::bytea || int8send(0) || int4send(1) || CASE WHEN came IS NULL THEN '\x00'::bytea ELSE '\x08'::bytea END || int8send(0) || int4send(1)
	|| coalesce((SELECT string_agg(int2send((array_position(k.kinds, v) - 1)::smallint), ''::bytea ORDER BY n) FROM unnest(kind) WITH ORDINALITY u (v, n)), '')
	|| coalesce((SELECT string_agg(int4send(v), ''::bytea ORDER BY n) FROM unnest(device) WITH ORDINALITY u (v, n)), '')
	|| coalesce((SELECT string_agg(int8send(day * 86400::bigint + v), ''::bytea ORDER BY n) FROM unnest(start) WITH ORDINALITY u (v, n)), '')
	|| coalesce((SELECT string_agg(int8send((v::bigint & 4294967295) + 1 & 4294967295), ''::bytea ORDER BY n) FROM unnest(wh) WITH ORDINALITY u (v, n)), '')
	|| coalesce((SELECT string_agg(int8send(v), ''::bytea ORDER BY n) FROM unnest(register) WITH ORDINALITY u (v, n)), '')
	|| coalesce((SELECT string_agg(int8send(v), ''::bytea ORDER BY n) FROM unnest(came) WITH ORDINALITY u (v, n)), '')
FROM (SELECT id AS chunk, ARRAY(SELECT DISTINCT v FROM unnest(kind) v ORDER BY v) AS kinds FROM chunk) k
WHERE k.chunk = id;
ALTER TABLE chunk ALTER data SET NOT NULL;

CREATE OR REPLACE VIEW intervals AS
SELECT d.id AS meter, wattbus_channel(b.channel) AS channel,
	to_timestamp(b.day * 86400::bigint + u.first * b.length * 60) AS start, ((u.slot - u.first + 1) * b.length)::smallint AS minutes, u.wh,
	wattbus_quality(u.quality) AS quality, u.register, b.version, to_timestamp(b.recorded) AS recorded, true AS sealed
FROM block b
JOIN device d ON d.ordinal = b.device
CROSS JOIN LATERAL (
	SELECT s.*, coalesce(lag(s.slot) OVER (ORDER BY s.slot) + 1, 0) AS first
	FROM wattbus_unpack(b.data, b.length) s WHERE s.quality <> 6
) u
WHERE NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
UNION ALL
SELECT d.id, wattbus_channel(i.channel), to_timestamp(i.day * 86400::bigint + i.start), i.minutes, i.wh, wattbus_quality(i.quality), i.register,
	0::bigint, to_timestamp(i.recorded), false
FROM (
	-- The slots of an interval are those joined to it, without a gap, and the one at whose end it ends.
	SELECT device, channel, day, CASE WHEN joined THEN begin ELSE start END AS start,
		CASE WHEN joined THEN (start - begin) / 60 + length ELSE length END::smallint AS minutes, wh, quality, register, recorded
	FROM (
		SELECT *, min(start) OVER island AS begin,
			count(*) OVER island = (start - min(start) OVER island) / (length * 60) + 1 AS joined
		FROM (
			SELECT *, count(*) FILTER (WHERE quality <> 6) OVER (PARTITION BY device, channel, day ORDER BY start DESC) AS number
			FROM (
				SELECT DISTINCT ON (r.device, r.channel, c.day, r.start)
					r.device, r.channel, c.day, r.start - c.day * 86400::bigint AS start, r.length, r.wh, r.quality, r.register, c.recorded
				FROM chunk c
				CROSS JOIN LATERAL wattbus_chunk(c.data, c.intervals) r
				WHERE r.start >= c.day * 86400::bigint
				ORDER BY r.device, r.channel, c.day, r.start, c.id DESC, r.n DESC
			) newest
		) numbered
		WINDOW island AS (PARTITION BY device, channel, day, number)
	) islands
	WHERE quality <> 6 AND (wh IS NOT NULL OR register IS NOT NULL)
) i
JOIN device d ON d.ordinal = i.device
WHERE NOT EXISTS (SELECT 1 FROM block b WHERE b.day = i.day AND b.channel = i.channel AND b.device = d.ordinal);

ALTER TABLE chunk DROP COLUMN device, DROP COLUMN kind, DROP COLUMN start, DROP COLUMN wh, DROP COLUMN register, DROP COLUMN came;
