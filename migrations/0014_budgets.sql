-- Budgets, their accounts, and the leases by which nodes may spend them.

CREATE TABLE budgets (
    id               text COLLATE "C" NOT NULL,
    organization_id  text COLLATE "C" NOT NULL REFERENCES organizations (id),
    -- Null: calls of every workspace count.
    workspace_id     text COLLATE "C",
    name             text    NOT NULL,
    description      text,
    is_enabled       boolean NOT NULL,
    subject          jsonb   NOT NULL CHECK (jsonb_typeof(subject) = 'object'),
    group_by         jsonb   NOT NULL CHECK (jsonb_typeof(group_by) = 'array'),
    measure          text    NOT NULL CHECK (measure IN ('cost', 'tokens', 'requests')),
    -- [{"window", "amount"}, …]
    limits           jsonb   NOT NULL CHECK (jsonb_typeof(limits) = 'array'),
    time_zone        text    NOT NULL,
    enforcement      text    NOT NULL CHECK (enforcement IN ('hard', 'soft')),
    when_unreachable text    NOT NULL CHECK (when_unreachable IN ('refuse', 'allow')),
    alert_at         jsonb   NOT NULL CHECK (jsonb_typeof(alert_at) = 'array'),
    increase         jsonb,
    carries_over     boolean NOT NULL,
    version          bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at       bigint  NOT NULL,
    updated_at       bigint  NOT NULL,
    archived_at      bigint,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id)
);
CREATE UNIQUE INDEX budgets_name_key ON budgets (organization_id, coalesce(workspace_id, ''), name) WHERE archived_at IS NULL;
SELECT headgate_protect('budgets');
GRANT SELECT, INSERT, UPDATE ON budgets TO headgate_app;
GRANT SELECT ON budgets TO headgate_jobs;

-- One counter of a budget for each window and group. Whoever needs several locks them in the order of the key.
CREATE TABLE budget_accounts (
    organization_id text COLLATE "C" NOT NULL,
    budget_id       text COLLATE "C" NOT NULL,
    window_name     text COLLATE "C" NOT NULL CHECK (window_name IN ('hour', 'day', 'week', 'month', 'quarter', 'total')),
    group_key       text COLLATE "C" NOT NULL,
    -- 0 for a window that never ends.
    starts_at       bigint NOT NULL,
    ends_at         bigint,
    carried         bigint NOT NULL CHECK (carried >= 0),
    posted          bigint NOT NULL CHECK (posted >= 0),
    -- What open leases have been granted, less what was returned and booked.
    leased          bigint NOT NULL CHECK (leased >= 0),
    -- The part of posted that no lease covered.
    overdrawn       bigint NOT NULL CHECK (overdrawn >= 0),
    -- Until then, leases with something unused are asked to give it back.
    wanted_until    bigint NOT NULL,
    updated_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, budget_id, window_name, group_key, starts_at),
    FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id)
);
CREATE INDEX budget_accounts_by_end ON budget_accounts (ends_at);
SELECT headgate_protect('budget_accounts');
GRANT SELECT ON budget_accounts TO headgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON budget_accounts TO headgate_jobs;

-- Changed only under the lock of its account.
CREATE TABLE budget_leases (
    organization_id text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    budget_id       text COLLATE "C" NOT NULL,
    window_name     text COLLATE "C" NOT NULL,
    group_key       text COLLATE "C" NOT NULL,
    starts_at       bigint NOT NULL,
    node_id         text COLLATE "C" NOT NULL,
    boot            text COLLATE "C" NOT NULL,
    granted         bigint NOT NULL CHECK (granted >= 0),
    returned        bigint NOT NULL CHECK (returned >= 0),
    booked          bigint NOT NULL CHECK (booked >= 0),
    -- As the node said last.
    unused          bigint NOT NULL,
    held            bigint NOT NULL,
    told_at         bigint NOT NULL,
    expires_at      bigint NOT NULL,
    closed_at       bigint,
    PRIMARY KEY (organization_id, id),
    CHECK (returned + booked <= granted)
);
CREATE UNIQUE INDEX budget_leases_open_key ON budget_leases (organization_id, budget_id, window_name, group_key, starts_at, node_id, boot)
 WHERE closed_at IS NULL;
CREATE INDEX budget_leases_by_node ON budget_leases (node_id) WHERE closed_at IS NULL;
CREATE INDEX budget_leases_by_end ON budget_leases (closed_at) WHERE closed_at IS NOT NULL;
SELECT headgate_protect('budget_leases');
GRANT SELECT ON budget_leases TO headgate_app;
GRANT SELECT, INSERT, UPDATE, DELETE ON budget_leases TO headgate_jobs;

-- The last thing that each life of a node said, so that what is older is not heard.
CREATE TABLE budget_tellers (
    node_id  text COLLATE "C" NOT NULL,
    boot     text COLLATE "C" NOT NULL,
    sequence bigint NOT NULL CHECK (sequence > 0),
    told_at  bigint NOT NULL,
    PRIMARY KEY (node_id, boot)
);
GRANT SELECT, INSERT, UPDATE, DELETE ON budget_tellers TO headgate_jobs;

-- What a call took from accounts; null for nothing.
ALTER TABLE usage_events ADD COLUMN charges jsonb;
