-- Every try against an upstream, by hour and by who was tried: also those after which somebody else gave the answer.
CREATE TABLE attempt_rollups (
    organization_id    text COLLATE "C" NOT NULL,
    hour_at            bigint   NOT NULL,
    workspace_id       text COLLATE "C" NOT NULL,
    provider           text COLLATE "C" NOT NULL,
    deployment_id      text COLLATE "C" NOT NULL,
    upstream_model     text COLLATE "C" NOT NULL,
    attempts           bigint   NOT NULL,
    succeeded          bigint   NOT NULL,
    refused            bigint   NOT NULL,
    rate_limited       bigint   NOT NULL,
    failed             bigint   NOT NULL,
    unreachable        bigint   NOT NULL,
    timed_out          bigint   NOT NULL,
    broken             bigint   NOT NULL,
    cancelled          bigint   NOT NULL,
    unsendable         bigint   NOT NULL,
    -- Of those that succeeded.
    duration_buckets   bigint[] NOT NULL,
    first_byte_buckets bigint[] NOT NULL,
    last_received_at   bigint   NOT NULL,
    PRIMARY KEY (organization_id, hour_at, workspace_id, provider, deployment_id, upstream_model)
);
SELECT headgate_protect('attempt_rollups');
GRANT SELECT ON attempt_rollups TO headgate_app;
GRANT SELECT, INSERT, UPDATE ON attempt_rollups TO headgate_jobs;
