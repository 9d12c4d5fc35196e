CREATE FUNCTION public.apply_metrics_retention() RETURNS bigint
    LANGUAGE sql
    AS $$
WITH deleted AS (DELETE FROM metrics WHERE ts < now() - INTERVAL '30 days' RETURNING 1)
SELECT count(*) FROM deleted
$$;

CREATE FUNCTION public.set_metrics_retention(deletion boolean) RETURNS void
    LANGUAGE sql
    AS $$
$$;

CREATE FUNCTION public.summarize_samples(sample_values double precision[], sample_times timestamp with time zone[]) RETURNS double precision[]
    LANGUAGE plpgsql IMMUTABLE STRICT PARALLEL SAFE
    AS $$
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

CREATE FUNCTION public.time_bucket(bucket_width interval, ts timestamp with time zone) RETURNS timestamp with time zone
    LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE
    RETURN date_bin(bucket_width, ts, '2000-01-03 00:00:00+00'::timestamp with time zone);

CREATE SEQUENCE public.metric_blocks
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;

CREATE TABLE public.metric_hours (
    org_id uuid NOT NULL,
    hour integer NOT NULL,
    partition integer NOT NULL,
    version bigint NOT NULL
)
WITH (fillfactor='50');

CREATE TABLE public.metric_names (
    org_id uuid NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    unit text NOT NULL
);

CREATE TABLE public.metric_offsets (
    incarnation text NOT NULL,
    topic text NOT NULL,
    partition integer NOT NULL,
    next_offset bigint NOT NULL,
    stored_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.metrics (
    ts timestamp with time zone NOT NULL,
    value double precision NOT NULL,
    block bigint NOT NULL,
    series_id integer NOT NULL
)
WITH (autovacuum_vacuum_insert_scale_factor='0', autovacuum_vacuum_insert_threshold='2000000');

CREATE VIEW public.metrics_1h_summaries AS
 SELECT series_id,
    public.time_bucket('01:00:00'::interval, ts) AS bucket,
    public.summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
   FROM public.metrics
  GROUP BY series_id, (public.time_bucket('01:00:00'::interval, ts));

CREATE VIEW public.metrics_1h AS
 SELECT series_id,
    bucket,
    (summary[1])::bigint AS count,
    summary[2] AS sum,
    summary[3] AS min,
    summary[4] AS max,
    summary[5] AS first,
    summary[6] AS last,
    summary[7] AS increase,
    (summary[8])::bigint AS resets,
    (summary[9])::bigint AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
   FROM public.metrics_1h_summaries;

CREATE VIEW public.metrics_1m_summaries AS
 SELECT series_id,
    public.time_bucket('00:01:00'::interval, ts) AS bucket,
    public.summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
   FROM public.metrics
  GROUP BY series_id, (public.time_bucket('00:01:00'::interval, ts));

CREATE VIEW public.metrics_1m AS
 SELECT series_id,
    bucket,
    (summary[1])::bigint AS count,
    summary[2] AS sum,
    summary[3] AS min,
    summary[4] AS max,
    summary[5] AS first,
    summary[6] AS last,
    summary[7] AS increase,
    (summary[8])::bigint AS resets,
    (summary[9])::bigint AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
   FROM public.metrics_1m_summaries;

CREATE VIEW public.metrics_5m_summaries AS
 SELECT series_id,
    public.time_bucket('00:05:00'::interval, ts) AS bucket,
    public.summarize_samples(array_agg(value ORDER BY ts, block), array_agg(ts ORDER BY ts, block)) AS summary
   FROM public.metrics
  GROUP BY series_id, (public.time_bucket('00:05:00'::interval, ts));

CREATE VIEW public.metrics_5m AS
 SELECT series_id,
    bucket,
    (summary[1])::bigint AS count,
    summary[2] AS sum,
    summary[3] AS min,
    summary[4] AS max,
    summary[5] AS first,
    summary[6] AS last,
    summary[7] AS increase,
    (summary[8])::bigint AS resets,
    (summary[9])::bigint AS excluded,
    to_timestamp(summary[10]) AS first_ts,
    to_timestamp(summary[11]) AS last_ts
   FROM public.metrics_5m_summaries;

CREATE TABLE public.schema_migrations (
    target text NOT NULL,
    number integer NOT NULL,
    name text NOT NULL,
    sha256 text NOT NULL,
    applied_at timestamp with time zone DEFAULT now() NOT NULL
);

CREATE TABLE public.series (
    id integer NOT NULL,
    org_id uuid NOT NULL,
    name text NOT NULL,
    labels jsonb NOT NULL,
    identity bytea NOT NULL,
    created_at timestamp with time zone DEFAULT now() NOT NULL,
    CONSTRAINT series_identity_check CHECK ((octet_length(identity) = 32)),
    CONSTRAINT series_name_check CHECK (((octet_length(name) >= 1) AND (octet_length(name) <= 1024)))
);

CREATE TABLE public.series_counts (
    org_id uuid NOT NULL,
    series integer DEFAULT 0 NOT NULL,
    CONSTRAINT series_counts_series_check CHECK ((series >= 0))
);

ALTER TABLE public.series ALTER COLUMN id ADD GENERATED ALWAYS AS IDENTITY (
    SEQUENCE NAME public.series_id_seq
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1
);

ALTER TABLE ONLY public.metric_hours
    ADD CONSTRAINT metric_hours_pkey PRIMARY KEY (org_id, hour, partition);

ALTER TABLE ONLY public.metric_names
    ADD CONSTRAINT metric_names_pkey PRIMARY KEY (org_id, name);

ALTER TABLE ONLY public.metric_offsets
    ADD CONSTRAINT metric_offsets_pkey PRIMARY KEY (incarnation, topic, partition);

ALTER TABLE ONLY public.schema_migrations
    ADD CONSTRAINT schema_migrations_pkey PRIMARY KEY (target, number);

ALTER TABLE ONLY public.series_counts
    ADD CONSTRAINT series_counts_pkey PRIMARY KEY (org_id);

ALTER TABLE ONLY public.series
    ADD CONSTRAINT series_identity_key UNIQUE (org_id, identity);

ALTER TABLE ONLY public.series
    ADD CONSTRAINT series_pkey PRIMARY KEY (id);

CREATE INDEX metrics_series_id_ts_idx ON public.metrics USING btree (series_id, date_bin('00:10:00'::interval, ts, '2000-01-01 00:00:00+00'::timestamp with time zone));

CREATE INDEX series_labels_idx ON public.series USING gin (labels jsonb_path_ops);

CREATE INDEX series_org_id_name_idx ON public.series USING btree (org_id, name);
