-- Computes the features of cases/basic once more, in DuckDB, from what docs/pipelines.md says of
-- windows and watermarks. Run it in this folder: duckdb < check.sql. It finds no differences.

CREATE VIEW lines AS
SELECT row_number() OVER () AS line, text
FROM read_csv('cases/basic/events.ndjson', columns = {'text': 'VARCHAR'},
              delim = '\x01', quote = '', escape = '', header = false);

CREATE TABLE rides AS
WITH read AS (
    SELECT line,
           (event ->> 'finished_at')::TIMESTAMP AS finished_at,
           (event ->> 'driver_id')::BIGINT AS driver_id,
           (event ->> 'fare_cents')::BIGINT AS fare_cents
    FROM (SELECT line, TRY_CAST(text AS JSON) AS event FROM lines)
    WHERE event IS NOT NULL
)
-- `disorder = "30s"`
SELECT *, max(finished_at) OVER (ORDER BY line) - INTERVAL 30 SECOND AS watermark FROM read;

-- A window of n minutes that a ride is in ends 1 to n whole minutes after the ride's own minute.
CREATE TABLE computed AS
SELECT driver_id,
       window_end - minutes * INTERVAL 1 MINUTE AS window_start,
       window_end,
       count(*) AS rides,
       sum(fare_cents)::BIGINT AS earnings_cents,
       sum(fare_cents) / count(*) AS mean_fare_cents
FROM (SELECT rides.*, minutes,
             date_trunc('minute', finished_at) + unnest(range(1, minutes + 1)) * INTERVAL 1 MINUTE AS window_end
      FROM rides, (VALUES (10), (60), (1440)) AS lengths (minutes))
WHERE driver_id IS NOT NULL AND fare_cents BETWEEN 0 AND 1000000
  AND window_end > watermark
GROUP BY ALL;

CREATE TABLE expected AS
FROM read_csv('cases/basic/expected.csv', types = {'window_start': 'TIMESTAMP', 'window_end': 'TIMESTAMP'});

SELECT count(*) AS rows_expected FROM expected;
(FROM computed EXCEPT FROM expected) UNION ALL (FROM expected EXCEPT FROM computed);
