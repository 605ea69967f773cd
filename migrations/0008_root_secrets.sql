-- What hangs on the root key: secrets of the control plane, each sealed by the root key, so that the root key can be replaced.

-- Peppers and sealing keys are derived from these by version; new values take the newest, older ones stay to verify and open
-- what was made under them.
CREATE TABLE root_secrets (
    version     integer PRIMARY KEY CHECK (version > 0),
    sealed      bytea  NOT NULL,
    -- The root key that sealed it; after a rotation that of every row is the new one.
    root_key_id text COLLATE "C" NOT NULL,
    created_at  bigint NOT NULL
);
GRANT SELECT, INSERT, UPDATE ON root_secrets TO headgate_jobs;
