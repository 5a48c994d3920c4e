-- Days whose chunks up to one are no more: they are deleted bit by bit in the commits that follow, since many at once would hold those up.
CREATE TABLE dropped (day integer PRIMARY KEY, last bigint NOT NULL) WITH (fillfactor = 50);
DROP INDEX chunk_day;
CREATE INDEX chunk_day ON chunk (day, id);

-- The views begin with one meter's few rows, and find its blocks day by day: there is no index of blocks by device, which each day
-- that is sealed would fill in as many places as there are devices. They show the UTC day, by which they can be narrowed, too.
CREATE INDEX device_id ON device (id);

CREATE OR REPLACE VIEW intervals AS
SELECT d.id AS meter, wattbus_channel(b.channel) AS channel,
	to_timestamp(b.day * 86400::bigint + u.first * b.length * 60) AS start, ((u.slot - u.first + 1) * b.length)::smallint AS minutes, u.wh,
	wattbus_quality(u.quality) AS quality, u.register, b.version, to_timestamp(b.recorded) AS recorded, true AS sealed, date '1970-01-01' + t.day AS day
FROM device d
CROSS JOIN day_tally t
JOIN block b ON b.day = t.day AND b.channel = t.channel AND b.device = d.ordinal
CROSS JOIN LATERAL (
	SELECT s.*, coalesce(lag(s.slot) OVER (ORDER BY s.slot) + 1, 0) AS first
	FROM wattbus_unpack(b.data, b.length) s WHERE s.quality <> 6
) u
WHERE NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
UNION ALL
SELECT d.id, wattbus_channel(i.channel), to_timestamp(i.day * 86400::bigint + i.start), i.minutes, i.wh, wattbus_quality(i.quality), i.register,
	0::bigint, to_timestamp(i.recorded), false, date '1970-01-01' + i.day
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
				WHERE r.start >= c.day * 86400::bigint AND NOT EXISTS (SELECT 1 FROM dropped p WHERE p.day = c.day AND c.id <= p.last)
				ORDER BY r.device, r.channel, c.day, r.start, c.id DESC, r.n DESC
			) newest
		) numbered
		WINDOW island AS (PARTITION BY device, channel, day, number)
	) islands
	WHERE quality <> 6 AND (wh IS NOT NULL OR register IS NOT NULL)
) i
JOIN device d ON d.ordinal = i.device
WHERE NOT EXISTS (SELECT 1 FROM block b WHERE b.day = i.day AND b.channel = i.channel AND b.device = d.ordinal);

CREATE OR REPLACE VIEW known_values AS
SELECT d.id AS meter, wattbus_channel(b.channel) AS channel, to_timestamp(b.day * 86400::bigint + u.first * b.length * 60) AS start,
	((u.slot - u.first + 1) * b.length)::smallint AS minutes,
	CASE WHEN k.holds THEN coalesce((k.cell->>'wh')::bigint, u.wh) ELSE u.wh END AS wh,
	wattbus_quality(CASE k.quality WHEN 2 THEN 1 ELSE k.quality END) AS quality,
	CASE WHEN k.holds THEN k.cell->>'code' WHEN k.quality = 0 THEN '3.5.259' WHEN k.quality = 3 THEN '3.0.1' ELSE '3.0.0' END AS reading_quality,
	u.wh AS raw_wh, CASE WHEN k.holds THEN k.cell->>'method' END AS method, v.rules, v.who, to_timestamp(greatest(b.recorded, v.recorded)) AS recorded,
	true AS sealed, date '1970-01-01' + t.day AS day
FROM device d
CROSS JOIN day_tally t
JOIN block b ON b.day = t.day AND b.channel = t.channel AND b.device = d.ordinal
LEFT JOIN LATERAL (
	SELECT * FROM (
		SELECT * FROM verdict n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device ORDER BY n.version DESC LIMIT 1
	) newest WHERE newest.length = b.length
) v ON true
CROSS JOIN LATERAL (
	SELECT s.*, coalesce(lag(s.slot) OVER (ORDER BY s.slot) + 1, 0) AS first
	FROM wattbus_unpack(b.data, b.length) s WHERE s.quality <> 6
) u
LEFT JOIN LATERAL (
	SELECT cell FROM jsonb_array_elements(convert_from(v.doc, 'UTF8')::jsonb->'cells') cell WHERE (cell->>'slot')::integer = u.slot
) c ON true
CROSS JOIN LATERAL (
	SELECT h.holds, c.cell, CASE WHEN h.holds THEN (c.cell->>'quality')::integer
		WHEN b.version = v.raw AND u.wh IS NOT NULL AND u.quality IN (1, 2) THEN 3 ELSE u.quality END AS quality
	FROM (
		SELECT coalesce(CASE (c.cell->>'quality')::integer
			WHEN 5 THEN true
			WHEN 3 THEN u.wh IS NULL OR u.wh = (c.cell->>'raw')::bigint
			WHEN 4 THEN u.wh IS NULL OR u.wh = (c.cell->>'raw')::bigint
			ELSE b.version = v.raw END, false) AND c.cell IS NOT NULL AS holds
	) h
) k
WHERE NOT EXISTS (SELECT 1 FROM block n WHERE n.day = b.day AND n.channel = b.channel AND n.device = b.device AND n.version > b.version)
	AND (u.wh IS NOT NULL OR k.holds OR u.slot >= coalesce((convert_from(v.doc, 'UTF8')::jsonb->>'first')::integer, 0))
UNION ALL
SELECT i.meter, i.channel, i.start, i.minutes, i.wh, CASE i.quality WHEN 'recovered' THEN 'raw' ELSE i.quality END, CASE WHEN i.wh IS NULL THEN '3.5.259' ELSE '3.0.0' END, i.wh, NULL, NULL, NULL, i.recorded, false, i.day
FROM intervals i WHERE NOT i.sealed
UNION ALL
SELECT d.id, wattbus_channel(v.channel), to_timestamp(v.day * 86400::bigint + (c.cell->>'slot')::integer * v.length * 60), v.length, (c.cell->>'wh')::bigint,
	wattbus_quality((c.cell->>'quality')::integer), c.cell->>'code', NULL, c.cell->>'method', v.rules, v.who, to_timestamp(v.recorded), true, date '1970-01-01' + v.day
FROM verdict v
JOIN device d ON d.ordinal = v.device
CROSS JOIN LATERAL jsonb_array_elements(convert_from(v.doc, 'UTF8')::jsonb->'cells') c (cell)
WHERE v.doc IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM verdict n WHERE n.day = v.day AND n.channel = v.channel AND n.device = v.device AND n.version > v.version)
	AND NOT EXISTS (SELECT 1 FROM block b WHERE b.day = v.day AND b.channel = v.channel AND b.device = v.device)
	AND NOT EXISTS (SELECT 1 FROM intervals i WHERE i.meter = d.id AND i.channel = wattbus_channel(v.channel) AND NOT i.sealed
		AND i.start = to_timestamp(v.day * 86400::bigint + (c.cell->>'slot')::integer * v.length * 60));

-- wattbus_chunk_rows is wattbus_chunk for the rows of one device, of which it reads little more than the column of devices.
CREATE FUNCTION wattbus_chunk_rows(data bytea, intervals integer, wanted bigint)
RETURNS TABLE (n integer, channel integer, length integer, quality integer, start bigint, wh bigint, register bigint, recorded bigint)
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE ROWS 10 COST 1000 AS $$
DECLARE
	number integer := wattbus_uint(substring(data FROM 2 FOR 2), 0, 2);
	head bytea := substring(data FROM 1 FOR 81 + 4 * number);
	o integer[]; -- where the values of the columns begin
	w integer[];
	b bigint[];
	s bigint[];
	v bigint[]; -- of a row
	at integer := 81 + 4 * number;
	k integer;
	needle bytea;
	devices bytea;
	found integer;
	behind integer := 0; -- rows that were searched
BEGIN
	FOR c IN 0 .. 5 LOOP
		k := 3 + 4 * number + 13 * c;
		w := w || wattbus_uint(head, k, 1)::integer;
		b := b || wattbus_uint(head, k + 1, 8);
		s := s || wattbus_uint(head, k + 9, 4);
		o := o || at;
		at := at + w[c + 1] * intervals;
	END LOOP;
	IF w[2] = 0 THEN -- all rows are of one device
		IF b[2] = wanted THEN
			RETURN QUERY SELECT r.n, r.channel, r.length, r.quality, r.start, r.wh, r.register, r.recorded FROM wattbus_chunk(data, intervals) r;
		END IF;
		RETURN;
	END IF;
	IF wanted < b[2] OR w[2] < 8 AND (wanted - b[2]) >> (8 * w[2]) <> 0 THEN
		RETURN;
	END IF;
	needle := substring(int8send(wanted - b[2]) FROM 9 - w[2]);
	devices := substring(data FROM o[2] + 1 FOR w[2] * intervals) || ''; -- once
	WHILE behind < intervals LOOP
		found := position(needle IN substring(devices FROM 1 + behind * w[2])) - 1;
		EXIT WHEN found < 0;
		n := behind + found / w[2];
		behind := n + 1;
		CONTINUE WHEN found % w[2] <> 0; -- it lies across two
		FOR c IN 1 .. 6 LOOP
			v[c] := b[c] + s[c] * wattbus_uint(substring(data FROM o[c] + n * w[c] + 1 FOR w[c]), 0, w[c]);
		END LOOP;
		k := wattbus_uint(head, 3 + 4 * v[1]::integer, 4);
		channel := k >> 20 & 15;
		length := k & 65535;
		quality := k >> 16 & 15;
		start := v[3];
		wh := CASE WHEN v[4] <> 0 THEN v[4] - 1 END;
		register := CASE WHEN k & 16777216 <> 0 THEN v[5] END;
		recorded := nullif(v[6], 0);
		RETURN NEXT;
	END LOOP;
END $$;

-- intervals_of is the view for one meter and some UTC days, the last one included, and soon done where millions of meters have intervals
-- of open days: of these the view unpacks all.
CREATE FUNCTION intervals_of(of_meter text, first_day date, last_day date) RETURNS SETOF intervals
LANGUAGE sql STABLE STRICT PARALLEL SAFE AS $$
SELECT i.* FROM intervals i WHERE i.meter = of_meter AND i.day >= first_day AND i.day <= last_day AND i.sealed
UNION ALL
SELECT d.id, wattbus_channel(i.channel), to_timestamp(i.day * 86400::bigint + i.start), i.minutes, i.wh, wattbus_quality(i.quality), i.register,
	0::bigint, to_timestamp(i.recorded), false, date '1970-01-01' + i.day
FROM device d
CROSS JOIN LATERAL (
	SELECT channel, day, CASE WHEN joined THEN begin ELSE start END AS start,
		CASE WHEN joined THEN (start - begin) / 60 + length ELSE length END::smallint AS minutes, wh, quality, register, recorded
	FROM (
		SELECT *, min(start) OVER island AS begin,
			count(*) OVER island = (start - min(start) OVER island) / (length * 60) + 1 AS joined
		FROM (
			SELECT *, count(*) FILTER (WHERE quality <> 6) OVER (PARTITION BY channel, day ORDER BY start DESC) AS number
			FROM (
				SELECT DISTINCT ON (r.channel, c.day, r.start)
					r.channel, c.day, r.start - c.day * 86400::bigint AS start, r.length, r.wh, r.quality, r.register, c.recorded
				FROM chunk c
				CROSS JOIN LATERAL wattbus_chunk_rows(c.data, c.intervals, d.ordinal) r
				WHERE c.day >= first_day - date '1970-01-01' AND c.day <= last_day - date '1970-01-01'
					AND r.start >= c.day * 86400::bigint AND NOT EXISTS (SELECT 1 FROM dropped p WHERE p.day = c.day AND c.id <= p.last)
				ORDER BY r.channel, c.day, r.start, c.id DESC, r.n DESC
			) newest
		) numbered
		WINDOW island AS (PARTITION BY channel, day, number)
	) islands
	WHERE quality <> 6 AND (wh IS NOT NULL OR register IS NOT NULL)
) i
WHERE d.id = of_meter AND NOT EXISTS (SELECT 1 FROM block b WHERE b.day = i.day AND b.channel = i.channel AND b.device = d.ordinal)
$$;
