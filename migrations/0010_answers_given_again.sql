-- What became of a call whose answer might be one given again, and what that saved. Older builds leave the defaults.
ALTER TABLE usage_events
    ADD COLUMN cache            text   NOT NULL DEFAULT 'off',
    ADD COLUMN saved_input      bigint NOT NULL DEFAULT 0,
    ADD COLUMN saved_output     bigint NOT NULL DEFAULT 0,
    ADD COLUMN saved_cost_nanos bigint NOT NULL DEFAULT 0;

ALTER TABLE usage_rollups
    ADD COLUMN reused           bigint NOT NULL DEFAULT 0,
    ADD COLUMN saved_input      bigint NOT NULL DEFAULT 0,
    ADD COLUMN saved_output     bigint NOT NULL DEFAULT 0,
    ADD COLUMN saved_cost_nanos bigint NOT NULL DEFAULT 0;
