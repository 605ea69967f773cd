-- A deployment may say which model of the catalog it really is (`provider/name`), where the upstream's name does not: its limits,
-- abilities and prices hold then.
ALTER TABLE deployments ADD COLUMN base_model text;
