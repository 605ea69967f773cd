-- Answers of the responses surface that later calls continue. Content is sealed by the gateway node that made it, under the
-- organization's data key, bound to all four parts of the key; the control plane cannot tell what it says.

-- Zero keeps none. The default is for the rows that are there; new ones name it.
ALTER TABLE organizations ADD COLUMN response_retention_ms bigint NOT NULL DEFAULT 2592000000 CHECK (response_retention_ms >= 0);

CREATE TABLE kept_responses (
    organization_id  text COLLATE "C" NOT NULL REFERENCES organizations (id),
    workspace_id     text COLLATE "C" NOT NULL,
    environment_id   text COLLATE "C" NOT NULL,
    -- As the client knows it: ours, or the upstream's own.
    id               text COLLATE "C" NOT NULL,
    data_key_version integer NOT NULL CHECK (data_key_version > 0),
    sealed           bytea   NOT NULL,
    created_at       bigint  NOT NULL,
    expires_at       bigint  NOT NULL,
    PRIMARY KEY (organization_id, workspace_id, environment_id, id)
);
CREATE INDEX kept_responses_by_expiry ON kept_responses (expires_at);
SELECT headgate_protect('kept_responses');
GRANT SELECT, INSERT, DELETE ON kept_responses TO headgate_jobs;
