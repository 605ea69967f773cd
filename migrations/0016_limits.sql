-- Rate limits, and what is, or was, stopped at once.

CREATE TABLE rate_limits (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    -- Null: calls of every workspace count.
    workspace_id    text COLLATE "C",
    name            text    NOT NULL,
    description     text,
    is_enabled      boolean NOT NULL,
    subject         jsonb   NOT NULL CHECK (jsonb_typeof(subject) = 'object'),
    group_by        jsonb   NOT NULL CHECK (jsonb_typeof(group_by) = 'array'),
    -- [{"measure", "per", "amount"}, …]
    rates           jsonb   NOT NULL CHECK (jsonb_typeof(rates) = 'array'),
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL,
    archived_at     bigint,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id)
);
CREATE UNIQUE INDEX rate_limits_name_key ON rate_limits (organization_id, coalesce(workspace_id, ''), name)
 WHERE archived_at IS NULL;
SELECT headgate_protect('rate_limits');
GRANT SELECT, INSERT, UPDATE ON rate_limits TO headgate_app;

-- A lifted one stays: what was stopped, and why.
CREATE TABLE kill_switches (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    target_kind     text COLLATE "C" NOT NULL
                    CHECK (target_kind IN ('organization', 'workspace', 'virtual_key', 'deployment', 'model', 'provider')),
    -- Empty for the organization. Names also what is not there any more, or not yet.
    target_id       text COLLATE "C" NOT NULL,
    reason          text    NOT NULL,
    is_cutting      boolean NOT NULL,
    created_at      bigint  NOT NULL,
    lifted_at       bigint,
    PRIMARY KEY (organization_id, id)
);
CREATE UNIQUE INDEX kill_switches_target_key ON kill_switches (organization_id, target_kind, target_id)
 WHERE lifted_at IS NULL;
SELECT headgate_protect('kill_switches');
GRANT SELECT, INSERT, UPDATE ON kill_switches TO headgate_app;
