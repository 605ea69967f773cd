-- A node that says that it leaves is not lost when nothing is heard of it any more.

ALTER TABLE node_status ADD COLUMN is_draining boolean NOT NULL DEFAULT false;
