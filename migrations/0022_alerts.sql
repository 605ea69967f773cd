-- Alerts: what happened that somebody wants to hear of, where it is sent, and how far the sending has come.

CREATE TABLE alert_destinations (
    organization_id       text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id                    text COLLATE "C" NOT NULL,
    name                  text    NOT NULL,
    kind                  text    NOT NULL CHECK (kind IN ('webhook', 'slack', 'pagerduty', 'email')),
    is_enabled            boolean NOT NULL,
    -- {"kinds", "workspace_ids", "least_severity"}
    filter                jsonb   NOT NULL CHECK (jsonb_typeof(filter) = 'object'),
    recipients            jsonb   NOT NULL CHECK (jsonb_typeof(recipients) = 'array'),
    -- The address without what is secret in it.
    hint                  text    NOT NULL,
    -- Address and secrets, sealed with a data key of the organization.
    secret_key_version    integer,
    secret_ciphertext     bytea,
    secret_version        bigint  NOT NULL CHECK (secret_version > 0),
    old_secret_retires_at bigint,
    version               bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at            bigint  NOT NULL,
    updated_at            bigint  NOT NULL,
    archived_at           bigint,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX alert_destinations_name_key ON alert_destinations (organization_id, name) WHERE archived_at IS NULL;
SELECT headgate_protect('alert_destinations');
GRANT SELECT, INSERT, UPDATE ON alert_destinations TO headgate_app;
GRANT SELECT ON alert_destinations TO headgate_jobs;

-- Written in the transaction of what it tells, where there is one.
CREATE TABLE alerts (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id              text COLLATE "C" NOT NULL,
    workspace_id    text COLLATE "C",
    kind            text    NOT NULL,
    severity        text    NOT NULL CHECK (severity IN ('info', 'warning', 'critical')),
    -- What begins and ends together.
    subject         text COLLATE "C" NOT NULL,
    is_resolved     boolean NOT NULL,
    summary         text    NOT NULL,
    facts           jsonb   NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    occurred_at     bigint  NOT NULL,
    -- What makes it one of a kind.
    once            text COLLATE "C" NOT NULL,
    -- When it was decided who hears of it.
    routed_at       bigint,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX alerts_once_key ON alerts (organization_id, once);
CREATE INDEX alerts_to_route ON alerts (id) WHERE routed_at IS NULL;
CREATE INDEX alerts_by_subject ON alerts (organization_id, subject, id);
CREATE INDEX alerts_by_age ON alerts (occurred_at);
SELECT headgate_protect('alerts');
GRANT SELECT, INSERT ON alerts TO headgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON alerts TO headgate_jobs;

CREATE TABLE alert_deliveries (
    organization_id text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    alert_id        text COLLATE "C" NOT NULL,
    destination_id  text COLLATE "C" NOT NULL,
    state           text    NOT NULL CHECK (state IN ('waiting', 'delivered', 'dead')),
    -- Grows when a try begins; whoever ends one says which it was.
    attempts        integer NOT NULL CHECK (attempts >= 0),
    created_at      bigint  NOT NULL,
    -- Null when it is not tried. While a try is under way: when another process may take it over.
    next_at         bigint,
    gives_up_at     bigint  NOT NULL,
    attempted_at    bigint,
    last_status     integer,
    last_answer     text,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, alert_id) REFERENCES alerts (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, destination_id) REFERENCES alert_destinations (organization_id, id),
    CHECK ((state = 'waiting') = (next_at IS NOT NULL))
);
CREATE INDEX alert_deliveries_by_alert ON alert_deliveries (organization_id, alert_id);
CREATE INDEX alert_deliveries_by_due ON alert_deliveries (next_at) WHERE state = 'waiting';
SELECT headgate_protect('alert_deliveries');
GRANT SELECT, UPDATE ON alert_deliveries TO headgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON alert_deliveries TO headgate_jobs;

-- The highest percent of its limit that was told of an account, and whether it was told that it refuses.
ALTER TABLE budget_accounts ADD COLUMN told_percent integer NOT NULL DEFAULT 0 CHECK (told_percent >= 0);
ALTER TABLE budget_accounts ADD COLUMN told_refusing boolean NOT NULL DEFAULT false;
