-- Statements of storage/migrations.py; `clickhouse_` ones are ClickHouse's dialect, the rest PostgreSQL's.

-- name: bound_lock_wait
-- For the transaction only. It is idle while files are applied on other connections, which a server may be set up to forbid.
SELECT set_config('lock_timeout', $1, true), set_config('idle_in_transaction_session_timeout', '0', true);

-- name: take_lock
SELECT pg_advisory_xact_lock($1);

-- name: check_connection
SELECT 1;

-- name: find_records
SELECT to_regclass('schema_migrations')::text;

-- name: create_records
CREATE TABLE IF NOT EXISTS schema_migrations (
    target     text        NOT NULL,
    number     integer     NOT NULL,
    name       text        NOT NULL,
    sha256     text        NOT NULL,
    applied_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT schema_migrations_pkey PRIMARY KEY (target, number)
);

-- name: list_records
SELECT number, name, sha256
FROM schema_migrations
WHERE target = $1;

-- name: add_record
INSERT INTO schema_migrations (target, number, name, sha256)
VALUES ($1, $2, $3, $4);

-- name: find_timescaledb
SELECT EXISTS (SELECT FROM pg_available_extensions WHERE name = 'timescaledb');

-- name: create_timescaledb
CREATE EXTENSION IF NOT EXISTS timescaledb;

-- name: set_metrics_retention
SELECT set_metrics_retention($1);

-- name: clickhouse_find_database
SELECT toUInt8(1)
FROM system.databases
WHERE name = {database:String};

-- name: clickhouse_find_records
SELECT toUInt8(1)
FROM system.tables
WHERE database = {database:String} AND name = 'schema_migrations';

-- name: clickhouse_create_records
CREATE TABLE IF NOT EXISTS schema_migrations (
    number     UInt32,
    name       String,
    sha256     String,
    applied_at DateTime64(3, 'UTC')
) ENGINE = MergeTree ORDER BY number;

-- name: clickhouse_list_records
SELECT number, name, sha256
FROM schema_migrations
ORDER BY number;

-- name: clickhouse_add_record
INSERT INTO schema_migrations (number, name, sha256, applied_at)
SELECT {number:UInt32}, {name:String}, {sha256:String}, now64(3, 'UTC');
