-- What a node holds other than it should: a state that drifted, and kinds that it does not understand.

ALTER TABLE node_status ADD COLUMN drift jsonb;
ALTER TABLE node_status ADD COLUMN withheld jsonb NOT NULL DEFAULT '[]';
