-- Money entered by hand, what is added to prices of providers, and what providers say they billed. All of them are facts.

CREATE TABLE ledger_entries (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id              text COLLATE "C" NOT NULL,
    kind            text    NOT NULL CHECK (kind IN ('credit', 'refund', 'adjust')),
    debit           text COLLATE "C" NOT NULL,
    credit          text COLLATE "C" NOT NULL,
    amount_nanos    bigint  NOT NULL CHECK (amount_nanos > 0),
    reason          text    NOT NULL CHECK (reason <> ''),
    reference       text,
    -- The budget whose amount was raised or lowered with it.
    budget_id       text COLLATE "C",
    entered_by      text    NOT NULL,
    posted_at       bigint  NOT NULL,
    PRIMARY KEY (organization_id, id),
    CHECK (debit <> credit),
    -- Each kind moves between its own accounts.
    CHECK (CASE kind WHEN 'credit' THEN debit = 'funds' AND credit = 'prepaid'
                     WHEN 'refund' THEN debit = 'prepaid' AND credit = 'funds'
                     ELSE (debit LIKE 'spend/%' AND credit LIKE 'owed/%') OR (debit LIKE 'owed/%' AND credit LIKE 'spend/%') END),
    FOREIGN KEY (organization_id, budget_id) REFERENCES budgets (organization_id, id)
);
CREATE INDEX ledger_entries_by_time ON ledger_entries (organization_id, posted_at);
SELECT headgate_protect('ledger_entries');
GRANT SELECT, INSERT ON ledger_entries TO headgate_app;
GRANT SELECT ON ledger_entries TO headgate_jobs;

-- From a month on, what is billed for calls of a provider: so many hundredths of a percent more, or less, than they cost.
CREATE TABLE markups (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    provider        text COLLATE "C" NOT NULL,
    effective_month text COLLATE "C" NOT NULL CHECK (effective_month ~ '^[0-9]{4}-[0-9]{2}$'),
    created_at      bigint  NOT NULL,
    basis_points    integer NOT NULL CHECK (basis_points BETWEEN -10000 AND 100000),
    PRIMARY KEY (organization_id, provider, effective_month, created_at)
);
SELECT headgate_protect('markups');
GRANT SELECT, INSERT ON markups TO headgate_app;

CREATE TABLE reconciliations (
    organization_id        text COLLATE "C" NOT NULL REFERENCES organizations (id),
    id                     text COLLATE "C" NOT NULL,
    provider               text    NOT NULL,
    format                 text    NOT NULL,
    file_name              text    NOT NULL,
    -- Of the content, which itself is not kept.
    digest                 bytea   NOT NULL CHECK (octet_length(digest) = 32),
    first_day              integer NOT NULL,
    last_day               integer NOT NULL CHECK (last_day >= first_day),
    n_rows                 bigint  NOT NULL CHECK (n_rows >= 0),
    skipped                bigint  NOT NULL CHECK (skipped >= 0),
    tolerance_basis_points integer NOT NULL CHECK (tolerance_basis_points >= 0),
    tolerance_nanos        bigint  NOT NULL CHECK (tolerance_nanos >= 0),
    matched                bigint  NOT NULL CHECK (matched >= 0),
    differing              bigint  NOT NULL CHECK (differing >= 0),
    theirs                 jsonb   NOT NULL CHECK (jsonb_typeof(theirs) = 'object'),
    ours                   jsonb   NOT NULL CHECK (jsonb_typeof(ours) = 'object'),
    differences            jsonb   NOT NULL CHECK (jsonb_typeof(differences) = 'array'),
    uploaded_by            text    NOT NULL,
    created_at             bigint  NOT NULL,
    PRIMARY KEY (organization_id, id)
);
SELECT headgate_protect('reconciliations');
GRANT SELECT, INSERT ON reconciliations TO headgate_app;
