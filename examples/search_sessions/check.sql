-- The sessions that are left in the end, once more, in DuckDB: all actions but the refused ones, cut
-- wherever a rider did nothing for half an hour. Corrections and withdrawals lead to the same.
-- Run it in this folder: duckdb < check.sql. It finds no differences.

CREATE VIEW lines AS
SELECT row_number() OVER () AS line, text
FROM read_csv('cases/basic/events.ndjson', columns = {'text': 'VARCHAR'},
              delim = '\x01', quote = '', escape = '', header = false);

CREATE TABLE actions AS
SELECT (event ->> 'at')::TIMESTAMP AS acted_at, (event ->> 'rider_id')::BIGINT AS rider_id, event ->> 'action' AS action
FROM (SELECT line, TRY_CAST(text AS JSON) AS event FROM lines)
WHERE line NOT IN (SELECT line FROM read_json('cases/basic/expected.rejects.ndjson'));

CREATE TABLE computed AS
WITH starts AS (
    SELECT *, coalesce(acted_at - lag(acted_at) OVER of_rider >= INTERVAL 30 MINUTE, true) AS is_first
    FROM actions WINDOW of_rider AS (PARTITION BY rider_id ORDER BY acted_at)
), numbered AS (
    SELECT *, sum(is_first::INT) OVER (PARTITION BY rider_id ORDER BY acted_at) AS session FROM starts
)
SELECT rider_id,
       min(acted_at) AS window_start,
       max(acted_at) + INTERVAL 30 MINUTE AS window_end,
       count(*) FILTER (action = 'search') AS searches,
       date_diff('second', min(acted_at), max(acted_at))::DOUBLE AS duration_s,
       arg_max(action, acted_at) = 'booking' AS ended_in_booking
FROM numbered GROUP BY rider_id, session;

-- Of the rows with the same bounds the last one holds, unless it says that they hold no longer.
CREATE TABLE expected AS
SELECT rider_id, window_start::TIMESTAMP AS window_start, window_end::TIMESTAMP AS window_end,
       searches, duration_s, ended_in_booking
FROM (SELECT *, row_number() OVER () AS line FROM read_json('cases/basic/expected.ndjson'))
QUALIFY line = max(line) OVER (PARTITION BY rider_id, window_start, window_end) AND NOT withdrawn;

SELECT count(*) AS sessions_expected FROM expected;
(FROM computed EXCEPT FROM expected) UNION ALL (FROM expected EXCEPT FROM computed);
