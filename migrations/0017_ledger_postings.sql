-- Double entry for what calls cost, and what the last look at the books found.

-- Money that moved between two accounts of an organization: what a workspace spent (`spend/ws_…`) and what is owed to a provider
-- (`owed/openai`). A row has both sides, so no half of one can be missing. Rows are added and never changed: what was wrong is put
-- right by another.
CREATE TABLE ledger_postings (
    organization_id text COLLATE "C" NOT NULL,
    -- The event's, as in usage_events.
    day             integer NOT NULL,
    event_id        text COLLATE "C" NOT NULL,
    -- Counts the postings of an event, from 0.
    n               integer NOT NULL CHECK (n >= 0),
    kind            text    NOT NULL CHECK (kind IN ('settle', 'adjust')),
    debit           text COLLATE "C" NOT NULL,
    credit          text COLLATE "C" NOT NULL,
    amount_nanos    bigint  NOT NULL CHECK (amount_nanos > 0),
    -- Of an adjustment: the price that it comes from, and why.
    price_id        text COLLATE "C",
    reason          text,
    posted_at       bigint  NOT NULL,
    PRIMARY KEY (organization_id, day, event_id, n),
    CHECK (debit <> credit)
) PARTITION BY RANGE (day);
SELECT headgate_protect('ledger_postings');
GRANT SELECT, INSERT ON ledger_postings TO headgate_app;
GRANT SELECT, INSERT ON ledger_postings TO headgate_jobs;

-- An adjustment changes the sums of the hour in which the call was made, in one transaction with its posting.
GRANT UPDATE (cost_nanos) ON usage_rollups TO headgate_app;

-- What each rule of the books said when it was last looked at.
CREATE TABLE ledger_checks (
    organization_id text COLLATE "C" NOT NULL REFERENCES organizations (id),
    rule            text COLLATE "C" NOT NULL,
    checked_at      bigint NOT NULL,
    -- What was looked at: calls that began from here on.
    since_at        bigint NOT NULL,
    broken          bigint NOT NULL CHECK (broken >= 0),
    -- One thing that breaks the rule.
    sample          text,
    PRIMARY KEY (organization_id, rule)
);
SELECT headgate_protect('ledger_checks');
GRANT SELECT ON ledger_checks TO headgate_app;
GRANT SELECT, INSERT, UPDATE ON ledger_checks TO headgate_jobs;

-- Postings have the partitions that events have: made together, dropped together.
CREATE OR REPLACE FUNCTION headgate_usage_partition(day integer) RETURNS void LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    parent    text;
    partition text;
BEGIN
    IF day NOT BETWEEN 18262 AND 54787 THEN
        RAISE EXCEPTION 'day % is outside 2020 to 2120', day;
    END IF;
    PERFORM pg_advisory_xact_lock(hashtext('headgate_usage_partition'));
    FOREACH parent IN ARRAY ARRAY['ledger_postings', 'usage_events'] LOOP
        partition := parent || '_' || to_char(DATE '1970-01-01' + day, 'YYYYMMDD');
        IF to_regclass(partition) IS NULL THEN
            EXECUTE format('CREATE TABLE %I PARTITION OF %I FOR VALUES FROM (%s) TO (%s)', partition, parent, day, day + 1);
            EXECUTE format('ALTER TABLE %I ENABLE ROW LEVEL SECURITY', partition);
            EXECUTE format('ALTER TABLE %I FORCE ROW LEVEL SECURITY', partition);
        END IF;
    END LOOP;
END $$;

CREATE OR REPLACE FUNCTION headgate_usage_drop(until integer) RETURNS integer LANGUAGE plpgsql SECURITY DEFINER
    SET search_path = public, pg_temp AS $$
DECLARE
    parent    text;
    partition regclass;
    dropped   integer := 0;
BEGIN
    FOREACH parent IN ARRAY ARRAY['usage_events', 'ledger_postings'] LOOP
        FOR partition IN
            SELECT c.oid::regclass FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
             WHERE i.inhparent = parent::regclass
               AND c.relname <= parent || '_' || to_char(DATE '1970-01-01' + until, 'YYYYMMDD')
        LOOP
            EXECUTE format('DROP TABLE %s', partition);
            IF parent = 'usage_events' THEN
                dropped := dropped + 1;
            END IF;
        END LOOP;
    END LOOP;
    RETURN dropped;
END $$;

-- Days that have events already.
DO $$
DECLARE
    name text;
BEGIN
    FOR name IN
        SELECT c.relname FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid WHERE i.inhparent = 'usage_events'::regclass
    LOOP
        PERFORM headgate_usage_partition(to_date(right(name, 8), 'YYYYMMDD') - DATE '1970-01-01');
    END LOOP;
END $$;
