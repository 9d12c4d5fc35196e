-- Statements and conditions of storage/rum.py, in ClickHouse's dialect; what all records share is in records.sql.

-- name: select_events
SELECT
    toUnixTimestamp64Nano(ts), record_id, type, session_id, view_id, page_url, page_path, user_id, name, value, error_type,
    error_message, error_stack, country, region, city, timezone, latitude, longitude, browser, browser_version, os,
    device_type, is_bot, client, attributes
FROM rum_events;

-- name: where_is_bot
is_bot = {is_bot:UInt8};

-- name: where_value_min
value >= {value_min:Float64};

-- name: where_value_max
value <= {value_max:Float64};

-- name: where_search
positionCaseInsensitiveUTF8(error_message, {search:String}) > 0
OR positionCaseInsensitiveUTF8(name, {search:String}) > 0
OR positionCaseInsensitiveUTF8(page_url, {search:String}) > 0;
