-- Models as an organization describes them: its own, or one of the catalog as it has it.
CREATE TABLE models (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id              text COLLATE "C" NOT NULL,
    provider        text    NOT NULL,
    upstream_model  text    NOT NULL,
    -- {"kind", "context_tokens", "max_output_tokens", "capabilities", "input", "output", "dimensions"}
    facts           jsonb   NOT NULL CHECK (jsonb_typeof(facts) = 'object'),
    -- How its numbers are held where it is served.
    quantization    text,
    version         bigint  NOT NULL DEFAULT 1 CHECK (version > 0),
    created_at      bigint  NOT NULL,
    updated_at      bigint  NOT NULL,
    PRIMARY KEY (organization_id, id),
    CONSTRAINT models_key UNIQUE (organization_id, provider, upstream_model)
);
SELECT headgate_protect('models');
GRANT SELECT, INSERT, UPDATE, DELETE ON models TO headgate_app;
GRANT SELECT ON models TO headgate_jobs;

-- What the provider does with what is sent under this account, as the contract with it says; NULL: nobody said.
ALTER TABLE credentials ADD COLUMN data_policy text CHECK (data_policy IN ('may_train', 'no_training', 'zero_retention'));
