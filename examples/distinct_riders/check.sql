-- Counts the distinct riders of cases/basic exactly, in DuckDB, and compares the estimates with that.
-- Run it in this folder: duckdb < check.sql. The last query finds nothing.

CREATE TABLE requests AS
WITH read AS (
    SELECT row_number() OVER () AS line, requested_at, rider_id, cell
    FROM read_json('cases/basic/events.ndjson', format = 'newline_delimited',
                   columns = {requested_at: 'TIMESTAMP', rider_id: 'BIGINT', cell: 'VARCHAR'})
)
-- `disorder = "1m"`
SELECT *, max(requested_at) OVER (ORDER BY line) - INTERVAL 1 MINUTE AS watermark FROM read;

CREATE TABLE exact AS
SELECT cell, window_end, count(DISTINCT rider_id) AS riders, count(*) AS requests
FROM (SELECT *, time_bucket(INTERVAL 10 MINUTE, requested_at) + unnest(range(1, 7)) * INTERVAL 10 MINUTE AS window_end
      FROM requests)
WHERE rider_id IS NOT NULL AND cell IS NOT NULL AND window_end > watermark
GROUP BY ALL;

CREATE TABLE compared AS
SELECT coalesce(exact.cell, expected.cell) AS cell, coalesce(exact.window_end, expected.window_end) AS window_end,
       requests, riders, distinct_riders AS estimate
FROM exact FULL JOIN (SELECT cell, window_end::TIMESTAMP AS window_end, distinct_riders
                      FROM read_json('cases/basic/expected.ndjson')) AS expected
  USING (cell, window_end);

SELECT count(*) AS windows, sum((estimate = riders)::INT) AS exactly_right, max(abs(estimate - riders)) AS furthest_off
FROM compared;

-- Further off than three standard errors (and one rider, as estimates are rounded), or not in both.
FROM compared WHERE (abs(estimate - riders) <= greatest(1, 3 * 0.0325 * riders)) IS NOT TRUE;
