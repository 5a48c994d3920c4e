-- Quality 6 (joined) marks a slot that is a part of the longer interval that ends later, on days on which a meter's intervals
-- changed their length. The register goes on over it,
-- and the view shows that interval, with its own start and length, and not its slots; nor slots of which nothing is known.
CREATE OR REPLACE FUNCTION wattbus_unpack(data bytea, length integer)
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
		IF quality = 6 THEN -- no interval of its own: the next one goes on from the same register
			register := NULL;
		ELSE
			reg := coalesce(anchors[i], reg + wh);
			register := reg;
		END IF;
		RETURN NEXT;
	END LOOP;
END $$;

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
				SELECT DISTINCT ON (r.device, r.kind >> 20 & 15, c.day, r.start)
					r.device, r.kind >> 20 & 15 AS channel, c.day, r.start, r.kind & 65535 AS length,
					CASE WHEN r.wh <> -1 THEN r.wh::bigint & 4294967295 END AS wh, r.kind >> 16 & 15 AS quality,
					CASE WHEN r.kind & 16777216 <> 0 THEN r.register END AS register, c.recorded
				FROM chunk c
				CROSS JOIN LATERAL unnest(c.device, c.kind, c.start, c.wh, c.register) AS r (device, kind, start, wh, register)
				WHERE r.start >= 0
				ORDER BY r.device, r.kind >> 20 & 15, c.day, r.start, c.id DESC
			) newest
		) numbered
		WINDOW island AS (PARTITION BY device, channel, day, number)
	) islands
	WHERE quality <> 6 AND (wh IS NOT NULL OR register IS NOT NULL)
) i
JOIN device d ON d.ordinal = i.device::bigint & 4294967295
WHERE NOT EXISTS (SELECT 1 FROM block b WHERE b.day = i.day AND b.channel = i.channel AND b.device = d.ordinal);
