-- Computes the features of cases/basic once more, in DuckDB, cells included. Run it in this folder:
-- duckdb < check.sql. It finds no differences.

CREATE VIEW lines AS
SELECT row_number() OVER () AS line, text
FROM read_csv('cases/basic/events.ndjson', columns = {'text': 'VARCHAR'},
              delim = '\x01', quote = '', escape = '', header = false);

-- Six characters are 30 bits, of longitude and latitude in turns; each says in which half of what is
-- left the place lies. So the bits of one coordinate are a number: how many 32768ths of the whole.
CREATE MACRO fraction(coordinate, least, whole) AS floor((coordinate - least) / whole * 32768)::BIGINT;
CREATE MACRO nth_bit(x, y, n) AS ((CASE n % 2 WHEN 0 THEN x ELSE y END) >> (14 - n // 2)) & 1;
CREATE MACRO digit(x, y, c) AS list_sum(list_transform(range(5), lambda n: nth_bit(x, y, c * 5 + n) << (4 - n)));
CREATE MACRO geohash(latitude, longitude) AS array_to_string(list_transform(range(6), lambda c:
    '0123456789bcdefghjkmnpqrstuvwxyz'[digit(fraction(longitude, -180, 360), fraction(latitude, -90, 180), c)::INT + 1]), '');

CREATE TABLE events AS
WITH read AS (
    SELECT line, (event ->> 'at')::TIMESTAMP AS happened_at, event ->> 'kind' AS kind,
           (event ->> 'latitude')::DOUBLE AS latitude, (event ->> 'longitude')::DOUBLE AS longitude
    FROM (SELECT line, TRY_CAST(text AS JSON) AS event FROM lines)
    WHERE event IS NOT NULL
)
-- `disorder = "15s"`
SELECT *, max(happened_at) OVER (ORDER BY line) - INTERVAL 15 SECOND AS watermark,
       time_bucket(INTERVAL 5 MINUTE, happened_at) AS window_start
FROM read;

CREATE TABLE computed AS
SELECT geohash(latitude, longitude) AS cell, window_start, window_start + INTERVAL 5 MINUTE AS window_end,
       count(*) FILTER (kind = 'driver_free') AS supply,
       count(*) FILTER (kind = 'ride_request') AS demand,
       CASE WHEN supply > 0 THEN demand / supply END AS demand_per_supply
FROM events
WHERE kind IN ('driver_free', 'ride_request') AND latitude BETWEEN -90 AND 90
  AND window_start + INTERVAL 5 MINUTE > watermark
GROUP BY ALL;

CREATE TABLE expected AS
SELECT cell, window_start::TIMESTAMP AS window_start, window_end::TIMESTAMP AS window_end,
       supply, demand, demand_per_supply
FROM read_json('cases/basic/expected.ndjson');

SELECT count(*) AS rows_expected FROM expected;
(FROM computed EXCEPT FROM expected) UNION ALL (FROM expected EXCEPT FROM computed);
