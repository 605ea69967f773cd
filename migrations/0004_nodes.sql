-- Gateway nodes, their groups and certificates, how they enrol, and the keys of the installation.

CREATE TABLE node_groups (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    slug            text    NOT NULL,
    region          text    NOT NULL,
    -- Every organization of the installation; else those in node_group_holds.
    holds_all       boolean NOT NULL,
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT node_groups_name_key UNIQUE (organization_id, slug)
);
CREATE UNIQUE INDEX node_groups_id ON node_groups (id);
SELECT headgate_protect('node_groups');
GRANT SELECT, INSERT, UPDATE ON node_groups TO headgate_app;
GRANT SELECT ON node_groups TO headgate_jobs;

CREATE TABLE node_group_holds (
    -- Who administers the group.
    organization_id      text COLLATE "C" NOT NULL,
    group_id             text COLLATE "C" NOT NULL,
    -- Whose resources its nodes may hold.
    held_organization_id text COLLATE "C" NOT NULL,
    PRIMARY KEY (organization_id, group_id, held_organization_id),
    FOREIGN KEY (organization_id, group_id) REFERENCES node_groups (organization_id, id)
);
SELECT headgate_protect('node_group_holds');
GRANT SELECT, INSERT, DELETE ON node_group_holds TO headgate_app;
GRANT SELECT ON node_group_holds TO headgate_jobs;

CREATE TABLE nodes (
    id                     text COLLATE "C" NOT NULL,
    organization_id        text COLLATE "C" NOT NULL,
    group_id               text COLLATE "C" NOT NULL,
    name                   text   NOT NULL,
    hpke_public_key        bytea  NOT NULL,
    certificate_serial     text COLLATE "C" NOT NULL,
    certificate_expires_at bigint NOT NULL,
    created_at             bigint NOT NULL,
    revoked_at             bigint,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, group_id) REFERENCES node_groups (organization_id, id)
);
CREATE UNIQUE INDEX nodes_id ON nodes (id);
SELECT headgate_protect('nodes');
GRANT SELECT, INSERT, UPDATE ON nodes TO headgate_app, headgate_jobs;

-- Every certificate ever given, so that a serial number names its node for as long as it is valid.
CREATE TABLE node_certificates (
    organization_id text COLLATE "C" NOT NULL,
    node_id         text COLLATE "C" NOT NULL,
    serial          text COLLATE "C" NOT NULL CONSTRAINT node_certificates_pkey PRIMARY KEY,
    issued_at       bigint NOT NULL,
    expires_at      bigint NOT NULL,
    FOREIGN KEY (organization_id, node_id) REFERENCES nodes (organization_id, id)
);
SELECT headgate_protect('node_certificates');
GRANT SELECT, INSERT ON node_certificates TO headgate_app, headgate_jobs;

-- What a node last reported. Facts for people; nothing is decided by them.
CREATE TABLE node_status (
    organization_id text COLLATE "C" NOT NULL,
    node_id         text COLLATE "C" NOT NULL,
    is_connected    boolean NOT NULL,
    build           text    NOT NULL,
    last_contact_at bigint,
    acknowledged    jsonb   NOT NULL,
    last_nack       jsonb,
    spool_depth     bigint  NOT NULL,
    spool_dropped   bigint  NOT NULL,
    PRIMARY KEY (organization_id, node_id)
);
SELECT headgate_protect('node_status');
GRANT SELECT ON node_status TO headgate_app;
GRANT SELECT, INSERT, UPDATE ON node_status TO headgate_jobs;

CREATE TABLE join_tokens (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL,
    group_id        text COLLATE "C" NOT NULL,
    kid             text COLLATE "C" NOT NULL CONSTRAINT join_tokens_kid_key UNIQUE,
    mac             bytea  NOT NULL CHECK (octet_length(mac) = 32),
    created_at      bigint NOT NULL,
    expires_at      bigint NOT NULL,
    PRIMARY KEY (organization_id, id),
    FOREIGN KEY (organization_id, group_id) REFERENCES node_groups (organization_id, id)
);
SELECT headgate_protect('join_tokens');
GRANT SELECT, INSERT, DELETE ON join_tokens TO headgate_app;
GRANT SELECT, DELETE ON join_tokens TO headgate_jobs;

-- Private keys of the installation (node CA, policy signing, audit signing), sealed by the root key. Not a tenant's.
CREATE TABLE signing_keys (
    kid        text COLLATE "C" PRIMARY KEY,
    purpose    text   NOT NULL,
    public     bytea  NOT NULL,
    sealed     bytea  NOT NULL,
    created_at bigint NOT NULL,
    -- From then on it signs nothing new; what it signed stays valid.
    retired_at bigint
);
GRANT SELECT, INSERT, UPDATE ON signing_keys TO headgate_jobs;

-- Facts of the installation, such as the id of its first organization.
CREATE TABLE settings (
    name       text COLLATE "C" PRIMARY KEY,
    value      jsonb  NOT NULL,
    updated_at bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON settings TO headgate_jobs;

-- Recurring work: who does it now and when it is next due.
CREATE TABLE jobs (
    name         text COLLATE "C" PRIMARY KEY,
    due_at       bigint NOT NULL,
    -- Held by one worker until then; a worker that died is replaced afterwards.
    leased_until bigint NOT NULL,
    -- Grows with every lease, so that a worker that lost its lease can tell.
    epoch        bigint NOT NULL,
    last_ended_at bigint,
    last_error   text
);
GRANT SELECT, INSERT, UPDATE ON jobs TO headgate_jobs;
