-- Histograms as numbers: each bucket has twelve decimals of its own, so that adding two histograms is adding two numbers, which the
-- database does some hundred times faster than adding arrays. The arrays stay for the build before this one, which still writes them.

ALTER TABLE usage_rollups
    ADD COLUMN durations   numeric NOT NULL DEFAULT 0,
    ADD COLUMN first_bytes numeric NOT NULL DEFAULT 0,
    ADD COLUMN overheads   numeric NOT NULL DEFAULT 0,
    ALTER COLUMN duration_buckets SET DEFAULT '{}',
    ALTER COLUMN first_byte_buckets SET DEFAULT '{}',
    ALTER COLUMN overhead_buckets SET DEFAULT '{}';

CREATE FUNCTION headgate_pack_buckets(buckets bigint[]) RETURNS numeric LANGUAGE sql IMMUTABLE AS $$
    SELECT ('0.' || coalesce(string_agg(lpad(count::text, 12, '0'), '' ORDER BY place), '0'))::numeric
      FROM unnest(buckets) WITH ORDINALITY AS bucket (count, place)
$$;

-- The owner is held to row security as well; what is there belongs to all organizations.
ALTER TABLE usage_rollups NO FORCE ROW LEVEL SECURITY;
UPDATE usage_rollups
   SET durations = headgate_pack_buckets(duration_buckets), first_bytes = headgate_pack_buckets(first_byte_buckets),
       overheads = headgate_pack_buckets(overhead_buckets);
ALTER TABLE usage_rollups FORCE ROW LEVEL SECURITY;

DROP FUNCTION headgate_pack_buckets(bigint[]);
