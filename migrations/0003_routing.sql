-- What serves and who may call: data keys, credentials, deployments, routes, virtual keys, prices.

-- The organization's key for sealing credentials, itself sealed by the root key.
CREATE TABLE data_keys (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    version         integer NOT NULL CHECK (version > 0),
    sealed          bytea   NOT NULL,
    created_at      bigint  NOT NULL,
    PRIMARY KEY (organization_id, version)
);
SELECT headgate_protect('data_keys');
GRANT SELECT, INSERT, UPDATE ON data_keys TO headgate_app;

CREATE TABLE credentials (
    id                 text COLLATE "C" NOT NULL,
    organization_id    text COLLATE "C" NOT NULL REFERENCES organizations (id),
    provider           text    NOT NULL,
    name               text    NOT NULL,
    base_url           text    NOT NULL,
    secret_key_version integer,
    secret_ciphertext  bytea,
    secret_version     bigint  NOT NULL CHECK (secret_version > 0),
    hint               text    NOT NULL,
    version            bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at         bigint  NOT NULL,
    updated_at         bigint  NOT NULL,
    archived_at        bigint,
    PRIMARY KEY (organization_id, id),
    CHECK ((secret_key_version IS NULL) = (secret_ciphertext IS NULL)),
    FOREIGN KEY (organization_id, secret_key_version) REFERENCES data_keys (organization_id, version)
);
CREATE UNIQUE INDEX credentials_name_key ON credentials (organization_id, name) WHERE archived_at IS NULL;
SELECT headgate_protect('credentials');
GRANT SELECT, INSERT, UPDATE ON credentials TO headgate_app;

CREATE TABLE deployments (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL,
    workspace_id    text COLLATE "C" NOT NULL,
    name            text    NOT NULL,
    provider        text    NOT NULL,
    upstream_model  text    NOT NULL,
    credential_id   text COLLATE "C",
    is_enabled      boolean NOT NULL,
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL,
    archived_at     bigint,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id),
    FOREIGN KEY (organization_id, credential_id) REFERENCES credentials (organization_id, id)
);
CREATE UNIQUE INDEX deployments_name_key ON deployments (organization_id, workspace_id, name) WHERE archived_at IS NULL;
CREATE INDEX deployments_by_credential ON deployments (organization_id, credential_id);
SELECT headgate_protect('deployments');
GRANT SELECT, INSERT, UPDATE ON deployments TO headgate_app;

CREATE TABLE routes (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL,
    workspace_id    text COLLATE "C" NOT NULL,
    name            text    NOT NULL,
    -- [{"deployment_id", "priority", "weight"}, …]
    targets         jsonb   NOT NULL CHECK (jsonb_typeof(targets) = 'array'),
    max_attempts    integer NOT NULL CHECK (max_attempts > 0),
    timeouts        jsonb   NOT NULL,
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL,
    archived_at     bigint,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, workspace_id) REFERENCES workspaces (organization_id, id)
);
CREATE UNIQUE INDEX routes_name_key ON routes (organization_id, workspace_id, name) WHERE archived_at IS NULL;
SELECT headgate_protect('routes');
GRANT SELECT, INSERT, UPDATE ON routes TO headgate_app;

CREATE TABLE virtual_keys (
    id                      text COLLATE "C" NOT NULL,
    organization_id         text COLLATE "C" NOT NULL,
    workspace_id            text COLLATE "C" NOT NULL,
    environment_id          text COLLATE "C" NOT NULL,
    name                    text    NOT NULL,
    kid                     text COLLATE "C" NOT NULL,
    mac                     bytea   NOT NULL CHECK (octet_length(mac) = 32),
    pepper_version          integer NOT NULL,
    issued_at               bigint  NOT NULL,
    -- The secret before, during a rotation's overlap.
    retiring_mac            bytea CHECK (octet_length(retiring_mac) = 32),
    retiring_pepper_version integer,
    retiring_issued_at      bigint,
    retires_at              bigint,
    allowed_models          text[]  NOT NULL,
    created_by              text COLLATE "C",
    expires_at              bigint,
    revoked_at              bigint,
    version                 bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at              bigint  NOT NULL,
    CONSTRAINT virtual_keys_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT virtual_keys_kid_key UNIQUE (organization_id, kid),
    CHECK (num_nulls(retiring_mac, retiring_pepper_version, retiring_issued_at, retires_at) IN (0, 4)),
    FOREIGN KEY (organization_id, workspace_id, environment_id) REFERENCES environments (organization_id, workspace_id, id)
);
CREATE INDEX virtual_keys_by_workspace ON virtual_keys (organization_id, workspace_id, id);
SELECT headgate_protect('virtual_keys');
GRANT SELECT, INSERT, UPDATE ON virtual_keys TO headgate_app;

-- When a key was last used, as told with usage. Apart from the key, so that ingest never waits for a writer.
CREATE TABLE virtual_key_uses (
    organization_id text COLLATE "C" NOT NULL,
    virtual_key_id  text COLLATE "C" NOT NULL,
    last_used_at    bigint NOT NULL,
    PRIMARY KEY (organization_id, virtual_key_id)
);
SELECT headgate_protect('virtual_key_uses');
GRANT SELECT ON virtual_key_uses TO headgate_app;
GRANT SELECT, INSERT, UPDATE ON virtual_key_uses TO headgate_jobs;

CREATE TABLE prices (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    provider        text   NOT NULL,
    upstream_model  text   NOT NULL,
    effective_at    bigint NOT NULL,
    source          text   NOT NULL CHECK (source IN ('catalog', 'own')),
    rates           jsonb  NOT NULL,
    long_context    jsonb  NOT NULL,
    created_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT prices_key UNIQUE (organization_id, provider, upstream_model, effective_at, source)
);
SELECT headgate_protect('prices');
-- A price is a fact of its date: it is added, never changed.
GRANT SELECT, INSERT ON prices TO headgate_app;
