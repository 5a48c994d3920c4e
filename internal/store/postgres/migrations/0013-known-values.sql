-- A rewritten chunk may have two rows of an interval, of which the later one counts.
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
				CROSS JOIN LATERAL unnest(c.device, c.kind, c.start, c.wh, c.register) WITH ORDINALITY AS r (device, kind, start, wh, register, n)
				WHERE r.start >= 0
				ORDER BY r.device, r.kind >> 20 & 15, c.day, r.start, c.id DESC, r.n DESC
			) newest
		) numbered
		WINDOW island AS (PARTITION BY device, channel, day, number)
	) islands
	WHERE quality <> 6 AND (wh IS NOT NULL OR register IS NOT NULL)
) i
JOIN device d ON d.ordinal = i.device::bigint & 4294967295
WHERE NOT EXISTS (SELECT 1 FROM block b WHERE b.day = i.day AND b.channel = i.channel AND b.device = d.ordinal);

-- The value of each interval that counts: what came with the newest verdict on top, as store.Merge does it. A cell of a verdict stands
-- in the slot in which its interval ends. It no longer holds where the true value came after an estimate, and doubts only as long as
-- they are of the newest version.
CREATE VIEW known_values AS
SELECT d.id AS meter, wattbus_channel(b.channel) AS channel, to_timestamp(b.day * 86400::bigint + u.first * b.length * 60) AS start,
	((u.slot - u.first + 1) * b.length)::smallint AS minutes,
	CASE WHEN k.holds THEN coalesce((k.cell->>'wh')::bigint, u.wh) ELSE u.wh END AS wh,
	wattbus_quality(CASE k.quality WHEN 2 THEN 1 ELSE k.quality END) AS quality,
	CASE WHEN k.holds THEN k.cell->>'code' WHEN k.quality = 0 THEN '3.5.259' WHEN k.quality = 3 THEN '3.0.1' ELSE '3.0.0' END AS reading_quality,
	u.wh AS raw_wh, CASE WHEN k.holds THEN k.cell->>'method' END AS method, v.rules, v.who, to_timestamp(greatest(b.recorded, v.recorded)) AS recorded,
	true AS sealed
FROM block b
JOIN device d ON d.ordinal = b.device
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
SELECT i.meter, i.channel, i.start, i.minutes, i.wh, CASE i.quality WHEN 'recovered' THEN 'raw' ELSE i.quality END, CASE WHEN i.wh IS NULL THEN '3.5.259' ELSE '3.0.0' END, i.wh, NULL, NULL, NULL, i.recorded, false
FROM intervals i WHERE NOT i.sealed
UNION ALL
SELECT d.id, wattbus_channel(v.channel), to_timestamp(v.day * 86400::bigint + (c.cell->>'slot')::integer * v.length * 60), v.length, (c.cell->>'wh')::bigint,
	wattbus_quality((c.cell->>'quality')::integer), c.cell->>'code', NULL, c.cell->>'method', v.rules, v.who, to_timestamp(v.recorded), true
FROM verdict v
JOIN device d ON d.ordinal = v.device
CROSS JOIN LATERAL jsonb_array_elements(convert_from(v.doc, 'UTF8')::jsonb->'cells') c (cell)
WHERE v.doc IS NOT NULL
	AND NOT EXISTS (SELECT 1 FROM verdict n WHERE n.day = v.day AND n.channel = v.channel AND n.device = v.device AND n.version > v.version)
	AND NOT EXISTS (SELECT 1 FROM block b WHERE b.day = v.day AND b.channel = v.channel AND b.device = v.device)
	AND NOT EXISTS (SELECT 1 FROM intervals i WHERE i.meter = d.id AND i.channel = wattbus_channel(v.channel) AND NOT i.sealed
		AND i.start = to_timestamp(v.day * 86400::bigint + (c.cell->>'slot')::integer * v.length * 60));
