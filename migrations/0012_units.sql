-- What is counted beside tokens, in the ledger and its sums; what tiers of service cost; and pass-through.

ALTER TABLE usage_events
    ADD COLUMN images     bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_ms   bigint NOT NULL DEFAULT 0,
    ADD COLUMN characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN searches   bigint NOT NULL DEFAULT 0,
    ADD COLUMN pages      bigint NOT NULL DEFAULT 0;

ALTER TABLE usage_rollups
    ADD COLUMN images     bigint NOT NULL DEFAULT 0,
    ADD COLUMN audio_ms   bigint NOT NULL DEFAULT 0,
    ADD COLUMN characters bigint NOT NULL DEFAULT 0,
    ADD COLUMN searches   bigint NOT NULL DEFAULT 0,
    ADD COLUMN pages      bigint NOT NULL DEFAULT 0;

-- Calls of a provider's own API whose form is not known.
ALTER TABLE usage_events ADD COLUMN is_unmetered boolean NOT NULL DEFAULT false;

ALTER TABLE credentials ADD COLUMN allows_passthrough boolean NOT NULL DEFAULT false;

ALTER TABLE prices ADD COLUMN tiers jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(tiers) = 'array');
