-- Files and batches that lie at an upstream, under ids of ours: where they lie, who may see them, whether their output was
-- booked. Never their content.

CREATE TABLE remote_objects (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    workspace_id    text COLLATE "C" NOT NULL,
    environment_id  text COLLATE "C" NOT NULL,
    id              text COLLATE "C" NOT NULL,
    kind            text   NOT NULL CHECK (kind IN ('file', 'batch', 'message_batch')),
    virtual_key_id  text COLLATE "C" NOT NULL,
    provider        text   NOT NULL,
    credential_id   text COLLATE "C" NOT NULL,
    upstream_id     text   NOT NULL,
    -- JSON that only nodes read.
    facts           text   NOT NULL,
    created_at      bigint NOT NULL,
    expires_at      bigint NOT NULL,
    -- When a node looks after its output next; null when nothing is to be booked, or no more.
    due_at          bigint,
    booked_at       bigint,
    PRIMARY KEY (organization_id, workspace_id, environment_id, id)
);
CREATE INDEX remote_objects_by_expiry ON remote_objects (expires_at);
CREATE INDEX remote_objects_by_due ON remote_objects (due_at) WHERE due_at IS NOT NULL;
SELECT headgate_protect('remote_objects');
GRANT SELECT, INSERT, UPDATE, DELETE ON remote_objects TO headgate_jobs;
