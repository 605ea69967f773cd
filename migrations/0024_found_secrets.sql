-- Secrets of ours that somebody found: why one was revoked, and the way from its public id to its organization.

ALTER TABLE virtual_keys ADD COLUMN revoked_because text,
    ADD CONSTRAINT virtual_keys_because_check CHECK (revoked_because IS NULL OR revoked_at IS NOT NULL);
ALTER TABLE access_tokens ADD COLUMN revoked_because text,
    ADD CONSTRAINT access_tokens_because_check CHECK (revoked_because IS NULL OR revoked_at IS NOT NULL);

-- Whoever shows a key names no organization. What jobs may read is what it takes to know the key again.
CREATE INDEX virtual_keys_by_kid ON virtual_keys (kid);
GRANT SELECT (organization_id, id, kid, mac, pepper_version, retiring_mac, retiring_pepper_version) ON virtual_keys TO headgate_jobs;
