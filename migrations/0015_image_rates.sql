-- What pictures of a kind (a size, a quality, or both) cost.

ALTER TABLE prices ADD COLUMN images jsonb NOT NULL DEFAULT '[]' CHECK (jsonb_typeof(images) = 'array');
