-- Workspaces, their environments, and the roles bound to members.

CREATE TABLE workspaces (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    slug            text   NOT NULL,
    name            text   NOT NULL,
    version         bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint NOT NULL,
    archived_at     bigint,
    CONSTRAINT workspaces_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT workspaces_slug_key UNIQUE (organization_id, slug)
);
-- A workspace is addressed without its organization; whose it is must be found first.
CREATE UNIQUE INDEX workspaces_id ON workspaces (id);
SELECT headgate_protect('workspaces');
GRANT SELECT, INSERT, UPDATE ON workspaces TO headgate_app;
GRANT SELECT ON workspaces TO headgate_jobs;

CREATE TABLE environments (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL,
    workspace_id    text COLLATE "C" NOT NULL,
    slug            text    NOT NULL,
    name            text    NOT NULL,
    position        integer NOT NULL CHECK (position >= 0),
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    CONSTRAINT environments_pkey PRIMARY KEY (organization_id, id),
    -- Referenced by virtual keys, so that a key's environment is of the key's workspace.
    CONSTRAINT environments_workspace UNIQUE (organization_id, workspace_id, id),
    CONSTRAINT environments_slug_key UNIQUE (organization_id, workspace_id, slug),
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id)
);
SELECT headgate_protect('environments');
GRANT SELECT, INSERT, UPDATE, DELETE ON environments TO headgate_app;

CREATE TABLE role_bindings (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL,
    member_id       text COLLATE "C" NOT NULL,
    role            text   NOT NULL,
    -- Null: the whole organization.
    workspace_id    text COLLATE "C",
    created_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT role_bindings_key UNIQUE NULLS NOT DISTINCT (organization_id, member_id, role, workspace_id),
    FOREIGN KEY (organization_id, member_id) REFERENCES members (organization_id, id) ON DELETE CASCADE,
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id)
);
SELECT headgate_protect('role_bindings');
GRANT SELECT, INSERT, DELETE ON role_bindings TO headgate_app;
GRANT SELECT ON role_bindings TO headgate_jobs;
