-- Calls by minute, for charts that are watched: two dimensions, kept for days. `usage_rollups` has the hours, by everything, and keeps
-- them. Calls that were booked before this, or by the build before, are in hours alone.
CREATE TABLE usage_minutes (
    organization_id    text COLLATE "C" NOT NULL,
    workspace_id       text COLLATE "C" NOT NULL,
    minute_at          bigint   NOT NULL,
    environment_id     text COLLATE "C" NOT NULL,
    requests           bigint   NOT NULL,
    errors             bigint   NOT NULL,
    failures           bigint   NOT NULL,
    input              bigint   NOT NULL,
    cached_input       bigint   NOT NULL,
    cache_write_5m     bigint   NOT NULL,
    cache_write_1h     bigint   NOT NULL,
    output             bigint   NOT NULL,
    reasoning          bigint   NOT NULL,
    images             bigint   NOT NULL,
    audio_ms           bigint   NOT NULL,
    characters         bigint   NOT NULL,
    searches           bigint   NOT NULL,
    pages              bigint   NOT NULL,
    cost_nanos         bigint   NOT NULL,
    reused             bigint   NOT NULL,
    saved_input        bigint   NOT NULL,
    saved_output       bigint   NOT NULL,
    saved_cost_nanos   bigint   NOT NULL,
    -- Histograms as numbers, as in `usage_rollups`.
    durations          numeric  NOT NULL,
    first_bytes        numeric  NOT NULL,
    overheads          numeric  NOT NULL,
    last_received_at   bigint   NOT NULL,
    PRIMARY KEY (organization_id, workspace_id, minute_at, environment_id)
    -- Each batch of the minute changes the same row: room beside it keeps its versions on one page, and out of the indexes.
) WITH (fillfactor = 50);
CREATE INDEX usage_minutes_minute_at ON usage_minutes (minute_at);
SELECT headgate_protect('usage_minutes');
GRANT SELECT, UPDATE (cost_nanos) ON usage_minutes TO headgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON usage_minutes TO headgate_jobs;
