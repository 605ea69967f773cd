-- A session begins in the transaction that writes the audit entries of it, which is one of an organization of the person.
CREATE POLICY member_begin ON sessions FOR INSERT TO headgate_app
    WITH CHECK (EXISTS (SELECT 1 FROM members m WHERE m.user_id = sessions.user_id
                           AND m.organization_id = (SELECT nullif(current_setting('app.organization_id', true), ''))));
GRANT INSERT ON sessions TO headgate_app;
