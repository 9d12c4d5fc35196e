-- What samples belong to. timescaledb/compat/0001_create_series.sql is the same file for a server without TimescaleDB; a test compares.

-- One row a series. `identity` is the SHA-256 of the canonical JSON [name, labels]: labels may be longer than an index entry.
CREATE TABLE series (
    id         integer     GENERATED ALWAYS AS IDENTITY,
    org_id     uuid        NOT NULL,
    name       text        NOT NULL,
    labels     jsonb       NOT NULL,
    identity   bytea       NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT series_pkey PRIMARY KEY (id),
    CONSTRAINT series_identity_key UNIQUE (org_id, identity),
    CONSTRAINT series_name_check CHECK (octet_length(name) BETWEEN 1 AND 1024),
    CONSTRAINT series_identity_check CHECK (octet_length(identity) = 32)
);
CREATE INDEX series_org_id_name_idx ON series (org_id, name);
CREATE INDEX series_labels_idx ON series USING gin (labels jsonb_path_ops);

-- How many series an organization has. Its row is locked while series are added, so that the limit is exact.
CREATE TABLE series_counts (
    org_id uuid    NOT NULL,
    series integer NOT NULL DEFAULT 0,
    CONSTRAINT series_counts_pkey PRIMARY KEY (org_id),
    CONSTRAINT series_counts_series_check CHECK (series >= 0)
);

-- What a metric's name means; the last sender that says something wins.
CREATE TABLE metric_names (
    org_id uuid NOT NULL,
    name   text NOT NULL,
    type   text NOT NULL,
    unit   text NOT NULL,
    CONSTRAINT metric_names_pkey PRIMARY KEY (org_id, name)
);

-- How far each partition of a topic is stored. `next_offset` moves in the transaction that stores the samples.
CREATE TABLE metric_offsets (
    incarnation text        NOT NULL,
    topic       text        NOT NULL,
    partition   integer     NOT NULL,
    next_offset bigint      NOT NULL,
    stored_at   timestamptz NOT NULL DEFAULT now(),
    CONSTRAINT metric_offsets_pkey PRIMARY KEY (incarnation, topic, partition)
);

-- Numbers the blocks in the order of their writing: of two samples of one series and time, the one of the higher block counts.
CREATE SEQUENCE metric_blocks AS bigint;

-- The samples of one series and time span, in order of (ts, block) -> {count, sum, min, max, first, last, increase, resets, excluded,
-- first time, last time}, times as unix seconds. Of equal times the last counts. NaN, and with it the stale marker, is left out and
-- counted as excluded. `increase` is what a counter rose by, exactly: a fall is a reset, after which it rose from 0.
-- Written with nothing but built-in functions, because a refresh runs it with an empty search path. Values beyond 1e300 add as
-- infinite, because PostgreSQL raises an error where a sum overflows, and one sender could stop the refresh for everybody.
CREATE FUNCTION summarize_samples(sample_values double precision[], sample_times timestamptz[]) RETURNS double precision[]
LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE AS $$
DECLARE
    samples  integer := cardinality(sample_values);
    value    double precision;
    addend   double precision;
    before   double precision;
    counted  integer := 0;
    excluded integer := 0;
    total    double precision := 0;
    lowest   double precision;
    highest  double precision;
    earliest double precision;
    latest   double precision;
    rise     double precision := 0;
    resets   integer := 0;
    first_at timestamptz;
    last_at  timestamptz;
BEGIN
    FOR i IN 1..samples LOOP
        IF i < samples AND sample_times[i] = sample_times[i + 1] THEN
            CONTINUE;
        END IF;
        value := sample_values[i];
        IF value = 'NaN' THEN
            excluded := excluded + 1;
            CONTINUE;
        END IF;
        addend := CASE WHEN value > 1e300 THEN 'Infinity' WHEN value < -1e300 THEN '-Infinity' ELSE value END;
        IF counted = 0 THEN
            earliest := value;
            lowest := value;
            highest := value;
            first_at := sample_times[i];
        ELSIF value < latest THEN
            resets := resets + 1;
            rise := rise + addend;
            IF value < lowest THEN
                lowest := value;
            END IF;
        ELSIF value > latest THEN
            rise := rise + (addend - before);
            IF value > highest THEN
                highest := value;
            END IF;
        END IF;
        counted := counted + 1;
        total := total + addend;
        before := addend;
        latest := value;
        last_at := sample_times[i];
    END LOOP;
    RETURN ARRAY[
        counted, total, lowest, highest, earliest, latest, rise, resets, excluded,
        date_part('epoch', first_at), date_part('epoch', last_at)
    ];
END
$$;
