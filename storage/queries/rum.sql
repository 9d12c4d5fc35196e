-- Statements of storage/rum.py, in ClickHouse's dialect; what all records share is in records.sql.

-- name: select_events
SELECT
    toUnixTimestamp64Nano(ts), record_id, type, session_id, view_id, page_url, page_path, user_id, name, value, error_type,
    error_message, error_stack, country, region, city, timezone, latitude, longitude, browser, browser_version, os,
    device_type, is_bot, client, attributes
FROM rum_events;
