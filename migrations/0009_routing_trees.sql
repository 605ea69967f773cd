-- Routes as trees of strategies with rules, and in the ledger what a routing decision was made of.

-- `targets` stays for routes without a tree; the empty object is a set of rules.
ALTER TABLE routes
    ADD COLUMN tree  jsonb CHECK (jsonb_typeof(tree) = 'object'),
    ADD COLUMN rules jsonb NOT NULL DEFAULT '{}' CHECK (jsonb_typeof(rules) = 'object');

-- Facts of the request, targets passed over with reasons, and stages; absent for what was never routed.
ALTER TABLE usage_events ADD COLUMN routing jsonb CHECK (jsonb_typeof(routing) = 'object');
