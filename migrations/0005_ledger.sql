-- What happened: changes for nodes, the audit log, and usage with its sums.

-- The outbox: which resource changed at which revision. The row itself is what nodes get.
CREATE TABLE changes (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    revision        bigint NOT NULL,
    kind            text COLLATE "C" NOT NULL,
    subject_id      text COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, revision, kind, subject_id)
);
SELECT headgate_protect('changes');
GRANT SELECT, INSERT ON changes TO headgate_app;
GRANT SELECT, DELETE ON changes TO headgate_jobs;

-- Answers to requests with an Idempotency-Key, kept for a day.
CREATE TABLE idempotency_keys (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    actor           text COLLATE "C" NOT NULL,
    key             text COLLATE "C" NOT NULL,
    request_hash    bytea   NOT NULL CHECK (octet_length(request_hash) = 32),
    status          integer NOT NULL,
    response        bytea   NOT NULL,
    created_at      bigint  NOT NULL,
    PRIMARY KEY (organization_id, actor, key)
);
CREATE INDEX idempotency_keys_by_age ON idempotency_keys (created_at);
SELECT headgate_protect('idempotency_keys');
GRANT SELECT, INSERT ON idempotency_keys TO headgate_app;
GRANT SELECT, DELETE ON idempotency_keys TO headgate_jobs;

-- Nobody but the owner of the schema can change or delete an entry; the chain of hashes shows when they did.
CREATE TABLE audit_entries (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    seq             bigint NOT NULL CHECK (seq > 0),
    id              text COLLATE "C" NOT NULL,
    at              bigint NOT NULL,
    actor_kind      text   NOT NULL,
    actor_id        text   NOT NULL,
    actor_name      text   NOT NULL,
    action          text   NOT NULL,
    subject_kind    text   NOT NULL,
    subject_id      text   NOT NULL,
    subject_name    text   NOT NULL,
    workspace_id    text COLLATE "C",
    outcome         text   NOT NULL CHECK (outcome IN ('success', 'denied')),
    -- JSON as text: the hash commits to these very bytes.
    before          text,
    after           text,
    ip              text,
    user_agent      text,
    request_id      text,
    previous_hash   bytea  NOT NULL CHECK (octet_length(previous_hash) = 32),
    hash            bytea  NOT NULL CHECK (octet_length(hash) = 32),
    PRIMARY KEY (organization_id, seq)
);
CREATE INDEX audit_entries_by_subject ON audit_entries (organization_id, subject_id, seq);
SELECT headgate_protect('audit_entries');
GRANT SELECT, INSERT ON audit_entries TO headgate_app;
GRANT SELECT ON audit_entries TO headgate_jobs;

-- The newest entry of each chain. It is apart from the entries, so that a cut tail shows.
CREATE TABLE audit_head (
    organization_id text COLLATE "C" PRIMARY KEY REFERENCES organizations (id),
    seq             bigint NOT NULL CHECK (seq >= 0),
    hash            bytea  NOT NULL CHECK (octet_length(hash) = 32)
);
SELECT headgate_protect('audit_head');
GRANT SELECT, INSERT, UPDATE ON audit_head TO headgate_app;
GRANT SELECT ON audit_head TO headgate_jobs;

-- Signed statements "at this time the chain was this long and ended in this hash".
CREATE TABLE audit_checkpoints (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    seq             bigint NOT NULL CHECK (seq > 0),
    hash            bytea  NOT NULL CHECK (octet_length(hash) = 32),
    kid             text   NOT NULL,
    signature       bytea  NOT NULL,
    signed_at       bigint NOT NULL,
    PRIMARY KEY (organization_id, seq)
);
SELECT headgate_protect('audit_checkpoints');
GRANT SELECT ON audit_checkpoints TO headgate_app;
GRANT SELECT, INSERT ON audit_checkpoints TO headgate_jobs;

-- One row per request. `day` counts days since 1970 and is the day inside the UUIDv7 of `id`, so that a repeated event always
-- meets its first copy in the same partition and the primary key removes it.
CREATE TABLE usage_events (
    organization_id  text COLLATE "C" NOT NULL,
    day              integer  NOT NULL,
    id               text COLLATE "C" NOT NULL,
    workspace_id     text COLLATE "C" NOT NULL,
    environment_id   text COLLATE "C" NOT NULL,
    virtual_key_id   text COLLATE "C" NOT NULL,
    node_id          text COLLATE "C" NOT NULL,
    endpoint         text     NOT NULL,
    model            text     NOT NULL,
    route_id         text COLLATE "C",
    deployment_id    text COLLATE "C",
    provider         text,
    upstream_model   text,
    is_stream        boolean  NOT NULL,
    outcome          text     NOT NULL,
    status           integer  NOT NULL,
    code             text,
    finish_reason    text,
    started_at       bigint   NOT NULL,
    duration_us      bigint   NOT NULL,
    first_byte_us    bigint,
    overhead_us      bigint   NOT NULL,
    input            bigint   NOT NULL,
    cached_input     bigint   NOT NULL,
    cache_write_5m   bigint   NOT NULL,
    cache_write_1h   bigint   NOT NULL,
    output           bigint   NOT NULL,
    reasoning        bigint   NOT NULL,
    is_estimated     boolean  NOT NULL,
    cost_nanos       bigint   NOT NULL,
    price_id         text COLLATE "C",
    policy_revision  bigint   NOT NULL,
    end_user         text,
    conversation_id  text,
    trace_id         text,
    metadata         jsonb    NOT NULL,
    tags             jsonb    NOT NULL,
    dropped          jsonb    NOT NULL,
    attempts         jsonb    NOT NULL,
    received_at      bigint   NOT NULL,
    PRIMARY KEY (organization_id, day, id)
) PARTITION BY RANGE (day);
CREATE INDEX usage_events_by_workspace ON usage_events (organization_id, workspace_id, id);
CREATE INDEX usage_events_by_key ON usage_events (organization_id, virtual_key_id, id);
SELECT headgate_protect('usage_events');
GRANT SELECT ON usage_events TO headgate_app;
GRANT SELECT, INSERT ON usage_events TO headgate_jobs;

-- Makes the partition of a day. Runs as the owner, because only the owner may. Partitions carry row security without a policy:
-- nobody reads past the parent.
CREATE FUNCTION headgate_usage_partition(day integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    partition text := 'usage_events_' || to_char(DATE '1970-01-01' + day, 'YYYYMMDD');
BEGIN
    IF day NOT BETWEEN 18262 AND 54787 THEN
        RAISE EXCEPTION 'day % is outside 2020 to 2120', day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('headgate_usage_partition'));
    IF to_regclass(partition) IS NULL THEN
        EXECUTE format('CREATE TABLE %I PARTITION OF usage_events FOR VALUES FROM (%s) TO (%s)', partition, day, day + 1);
        EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
        EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
    END IF;
END $$;
REVOKE ALL ON FUNCTION headgate_usage_partition(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION headgate_usage_partition(integer) TO headgate_jobs;

-- Drops whole days up to and including one, and returns how many.
CREATE FUNCTION headgate_usage_drop(until integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    partition regclass;
    dropped   integer := 0;
BEGIN
    FOR partition IN
        SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'usage_events'::regclass
           AND c.relname <= 'usage_events_' || to_char(DATE '1970-01-01' + until, 'YYYYMMDD')
    LOOP
        EXECUTE format('DROP TABLE %s', partition);
        dropped := dropped + 1;
    END LOOP;
    RETURN dropped;
END $$;
REVOKE ALL ON FUNCTION headgate_usage_drop(integer) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION headgate_usage_drop(integer) TO headgate_jobs;

-- Adds two histograms bucket by bucket; a shorter one counts zero in its missing buckets.
CREATE FUNCTION headgate_add_buckets(a bigint[], b bigint[]) RETURNS bigint[] LANGUAGE sql IMMUTABLE PARALLEL SAFE
    RETURN (SELECT coalesce(array_agg(coalesce(x, 0) + coalesce(y, 0) ORDER BY place), '{}')
              FROM unnest(a, b) WITH ORDINALITY AS pair (x, y, place));
CREATE AGGREGATE headgate_merge_buckets(bigint[]) (
    SFUNC = headgate_add_buckets, STYPE = bigint[], INITCOND = '{}', COMBINEFUNC = headgate_add_buckets, PARALLEL = SAFE
);

-- Sums by hour and everything one may ask by. Empty text stands for "none", because a key column cannot be null.
CREATE TABLE usage_rollups (
    organization_id    text COLLATE "C" NOT NULL,
    hour_at            bigint   NOT NULL,
    workspace_id       text COLLATE "C" NOT NULL,
    environment_id     text COLLATE "C" NOT NULL,
    virtual_key_id     text COLLATE "C" NOT NULL,
    model              text COLLATE "C" NOT NULL,
    provider           text COLLATE "C" NOT NULL,
    deployment_id      text COLLATE "C" NOT NULL,
    requests           bigint   NOT NULL,
    errors             bigint   NOT NULL,
    failures           bigint   NOT NULL,
    input              bigint   NOT NULL,
    cached_input       bigint   NOT NULL,
    cache_write_5m     bigint   NOT NULL,
    cache_write_1h     bigint   NOT NULL,
    output             bigint   NOT NULL,
    reasoning          bigint   NOT NULL,
    cost_nanos         bigint   NOT NULL,
    duration_buckets   bigint[] NOT NULL,
    first_byte_buckets bigint[] NOT NULL,
    overhead_buckets   bigint[] NOT NULL,
    last_received_at   bigint   NOT NULL,
    PRIMARY KEY (organization_id, hour_at, workspace_id, environment_id, virtual_key_id, model, provider, deployment_id)
);
SELECT headgate_protect('usage_rollups');
GRANT SELECT ON usage_rollups TO headgate_app;
GRANT SELECT, INSERT, UPDATE ON usage_rollups TO headgate_jobs;

-- How far each run ("boot") of a node's spool has been booked. In the transaction of the events themselves.
CREATE TABLE usage_cursors (
    node_id    text COLLATE "C" NOT NULL,
    boot       text COLLATE "C" NOT NULL,
    watermark  bigint NOT NULL CHECK (watermark >= 0),
    updated_at bigint NOT NULL,
    PRIMARY KEY (node_id, boot)
);
GRANT SELECT, INSERT, UPDATE ON usage_cursors TO headgate_jobs;
