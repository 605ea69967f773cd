-- Organizations, people, their membership, and how they prove who they are.

GRANT USAGE ON SCHEMA public TO headgate_app, headgate_jobs;

-- Puts a tenant table behind row security. The setting is '' (not null) after a transaction that set it, hence nullif; the
-- sub-select is evaluated once per statement.
CREATE FUNCTION headgate_protect(target regclass) RETURNS void LANGUAGE plpgsql AS $$
BEGIN
    EXECUTE format('ALTER TABLE %s ENABLE ROW LEVEL SECURITY', target);
    EXECUTE format('ALTER TABLE %s FORCE ROW LEVEL SECURITY', target);
    EXECUTE format(
        'CREATE POLICY tenant ON %s TO headgate_app
         USING (organization_id = (SELECT nullif(current_setting(''app.organization_id'', true), '''')))
         WITH CHECK (organization_id = (SELECT nullif(current_setting(''app.organization_id'', true), '''')))', target);
    EXECUTE format('CREATE POLICY jobs ON %s TO headgate_jobs USING (true) WITH CHECK (true)', target);
END $$;
REVOKE ALL ON FUNCTION headgate_protect(regclass) FROM PUBLIC;

CREATE TABLE organizations (
    id           text COLLATE "C" CONSTRAINT organizations_pkey PRIMARY KEY,
    slug         text   NOT NULL CONSTRAINT organizations_slug_key UNIQUE,
    name         text   NOT NULL,
    max_stale_ms bigint NOT NULL CHECK (max_stale_ms > 0),
    version      bigint NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at   bigint NOT NULL
);
ALTER TABLE organizations ENABLE ROW LEVEL SECURITY;
ALTER TABLE organizations FORCE ROW LEVEL SECURITY;
CREATE POLICY tenant ON organizations TO headgate_app
    USING (id = (SELECT nullif(current_setting('app.organization_id', true), '')))
    WITH CHECK (id = (SELECT nullif(current_setting('app.organization_id', true), '')));
CREATE POLICY jobs ON organizations TO headgate_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON organizations TO headgate_app;
GRANT SELECT ON organizations TO headgate_jobs;

-- Whose turn it is to write, and how many writes have changed resources. One row per organization.
CREATE TABLE turns (
    organization_id text COLLATE "C" PRIMARY KEY REFERENCES organizations (id),
    revision        bigint NOT NULL DEFAULT 0 CHECK (revision >= 0)
);
SELECT headgate_protect('turns');
GRANT SELECT, INSERT, UPDATE ON turns TO headgate_app;
GRANT SELECT ON turns TO headgate_jobs;

CREATE TABLE users (
    id                   text COLLATE "C" CONSTRAINT users_pkey PRIMARY KEY,
    email                text    NOT NULL CONSTRAINT users_email_key UNIQUE,
    name                 text    NOT NULL,
    -- PHC string; null for people who have not chosen a password yet.
    password_hash        text,
    must_change_password boolean NOT NULL DEFAULT false,
    version              bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at           bigint  NOT NULL,
    disabled_at          bigint
);

CREATE TABLE members (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    user_id         text COLLATE "C" NOT NULL REFERENCES users (id),
    created_at      bigint NOT NULL,
    CONSTRAINT members_pkey PRIMARY KEY (organization_id, id),
    CONSTRAINT members_user_key UNIQUE (organization_id, user_id)
);
CREATE INDEX members_by_user ON members (user_id);
SELECT headgate_protect('members');
GRANT SELECT, INSERT, DELETE ON members TO headgate_app;
GRANT SELECT ON members TO headgate_jobs;

-- A user is visible to the organizations they are a member of; anybody's row may be added, since addresses are global.
ALTER TABLE users ENABLE ROW LEVEL SECURITY;
ALTER TABLE users FORCE ROW LEVEL SECURITY;
CREATE POLICY member ON users FOR SELECT TO headgate_app
    USING (EXISTS (SELECT 1 FROM members m WHERE m.user_id = users.id
                      AND m.organization_id = (SELECT nullif(current_setting('app.organization_id', true), ''))));
CREATE POLICY member_update ON users FOR UPDATE TO headgate_app
    USING (EXISTS (SELECT 1 FROM members m WHERE m.user_id = users.id
                      AND m.organization_id = (SELECT nullif(current_setting('app.organization_id', true), ''))));
CREATE POLICY addition ON users FOR INSERT TO headgate_app WITH CHECK (true);
CREATE POLICY jobs ON users TO headgate_jobs USING (true) WITH CHECK (true);
GRANT SELECT, INSERT, UPDATE ON users TO headgate_app, headgate_jobs;

-- Signed-in browsers. Only the SHA-256 of the cookie's secret is kept. Not a tenant table: a person may be in many.
CREATE TABLE sessions (
    id           text COLLATE "C" PRIMARY KEY,
    user_id      text COLLATE "C" NOT NULL REFERENCES users (id),
    secret_hash  bytea  NOT NULL UNIQUE CHECK (octet_length(secret_hash) = 32),
    created_at   bigint NOT NULL,
    last_seen_at bigint NOT NULL,
    ip           text,
    user_agent   text
);
CREATE INDEX sessions_by_user ON sessions (user_id);
GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO headgate_jobs;

CREATE TABLE access_tokens (
    id              text COLLATE "C" NOT NULL,
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    user_id         text COLLATE "C" NOT NULL REFERENCES users (id),
    name            text    NOT NULL,
    kid             text COLLATE "C" NOT NULL CONSTRAINT access_tokens_kid_key UNIQUE,
    mac             bytea   NOT NULL CHECK (octet_length(mac) = 32),
    pepper_version  integer NOT NULL,
    created_at      bigint  NOT NULL,
    expires_at      bigint,
    revoked_at      bigint,
    last_used_at    bigint,
    PRIMARY KEY (organization_id, id)
);
CREATE INDEX access_tokens_by_user ON access_tokens (user_id);
SELECT headgate_protect('access_tokens');
GRANT SELECT, INSERT, UPDATE ON access_tokens TO headgate_app;
GRANT SELECT, UPDATE ON access_tokens TO headgate_jobs;
