-- A kill switch may name one end user, as clients say it in `x-headgate-user`.
ALTER TABLE kill_switches DROP CONSTRAINT kill_switches_target_kind_check;
ALTER TABLE kill_switches ADD CONSTRAINT kill_switches_target_kind_check
    CHECK (target_kind IN ('organization', 'workspace', 'virtual_key', 'deployment', 'model', 'provider', 'end_user'));
