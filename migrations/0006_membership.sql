-- A membership can be disabled, one-time passwords end, and who loses a membership loses their sessions in the same transaction.

ALTER TABLE members ADD COLUMN disabled_at bigint;
GRANT UPDATE (disabled_at) ON members TO headgate_app;

-- When a password that somebody else made stops working; null for one's own.
ALTER TABLE users ADD COLUMN password_expires_at bigint;

-- Whose other memberships count is the one question that looks across organizations. It is answered by a function of the
-- owner, in numbers, and only about members of the organization that asks; forced row security would show the owner nothing.
CREATE POLICY owner ON members FOR SELECT TO CURRENT_USER USING (true);
CREATE FUNCTION headgate_memberships_elsewhere(person text, OUT all_of_them bigint, OUT live bigint)
LANGUAGE sql STABLE SECURITY DEFINER SET search_path = pg_catalog, public, pg_temp AS $$
    SELECT count(*), count(*) FILTER (WHERE m.disabled_at IS NULL)
      FROM public.members m
     WHERE m.user_id = person
       AND m.organization_id <> nullif(current_setting('app.organization_id', true), '')
       AND EXISTS (SELECT 1 FROM public.members here
                    WHERE here.user_id = person
                      AND here.organization_id = nullif(current_setting('app.organization_id', true), ''))
$$;
REVOKE ALL ON FUNCTION headgate_memberships_elsewhere(text) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION headgate_memberships_elsewhere(text) TO headgate_app;

-- An organization may end the sessions of its members, and sees no more of them than whose they are.
ALTER TABLE sessions ENABLE ROW LEVEL SECURITY;
ALTER TABLE sessions FORCE ROW LEVEL SECURITY;
CREATE POLICY jobs ON sessions TO headgate_jobs USING (true) WITH CHECK (true);
CREATE POLICY member ON sessions FOR SELECT TO headgate_app
    USING (EXISTS (SELECT 1 FROM members m WHERE m.user_id = sessions.user_id
                      AND m.organization_id = (SELECT nullif(current_setting('app.organization_id', true), ''))));
CREATE POLICY member_end ON sessions FOR DELETE TO headgate_app
    USING (EXISTS (SELECT 1 FROM members m WHERE m.user_id = sessions.user_id
                      AND m.organization_id = (SELECT nullif(current_setting('app.organization_id', true), ''))));
GRANT SELECT (id, user_id), DELETE ON sessions TO headgate_app;
