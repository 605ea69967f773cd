-- Access tokens are rotated with overlap; of every old secret is known when it was last used.

ALTER TABLE access_tokens
    ADD COLUMN rotated_at         bigint,
    ADD COLUMN old_mac            bytea CHECK (octet_length(old_mac) = 32),
    ADD COLUMN old_pepper_version integer,
    ADD COLUMN old_retires_at     bigint,
    ADD COLUMN old_used_at        bigint,
    ADD CONSTRAINT access_tokens_old_check CHECK (num_nulls(old_mac, old_pepper_version, old_retires_at) IN (0, 3)
                                                  AND (old_mac IS NOT NULL OR old_used_at IS NULL));

-- The last call with a secret that was being rotated away; which rotation it belongs to follows from when it was.
ALTER TABLE virtual_key_uses ADD COLUMN old_secret_used_at bigint;
