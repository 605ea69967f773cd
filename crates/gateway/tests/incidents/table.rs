//! The rows: where it was published, what happened, what is promised here, and which test plays it.

use super::Incident;

const fn row(
    issues: &'static [&'static str],
    happened: &'static str,
    promise: &'static str,
    test: &'static str,
) -> Incident {
    Incident { issues, happened, promise, test }
}

pub(super) const fn groups() -> [(&'static str, &'static [Incident]); 5] {
    [
        ("Money spent beyond a budget", OVERSPEND),
        ("Money and places never given back", LEAKS),
        ("Limits that refuse too early, too late or for too long", LIMITS),
        ("Wrong bills", BILLS),
        ("Doors", DOORS),
    ]
}

const OVERSPEND: &[Incident] = &[
    row(
        &["BerriAI/litellm#34732"],
        "A session's budget was looked at before a call and counted after it: turns at once all passed",
        "What a call may take is held before it is sent; of 40 turns at once exactly those go that there is money for",
        "litellm_34732_turns_of_a_session_at_once_cannot_all_pass_its_budget",
    ),
    row(
        &["BerriAI/litellm#40095"],
        "The first calls of an end user nobody knew passed the default budget",
        "An account exists as soon as somebody is first seen",
        "litellm_40095_the_first_calls_of_an_end_user_nobody_knew_are_held_to_the_budget",
    ),
    row(
        &["BerriAI/litellm#26672", "#23714", "#1632"],
        "A key with a budget of $30 spent $99",
        "The sum of what was charged is never above a hard budget, and nothing is sent once it is spent",
        "litellm_26672_a_key_that_has_spent_its_budget_sends_nothing_more",
    ),
    row(
        &["BerriAI/litellm#28020"],
        "`>` in place of `>=`: a budget spent exactly, or of nothing, let calls through",
        "A budget of nothing lets nothing through",
        "litellm_28020_a_budget_of_nothing_lets_nothing_through_and_one_that_is_spent_exactly_is_spent",
    ),
    row(
        &["BerriAI/litellm#11962"],
        "A user's budget was not looked at when the key had a team",
        "All budgets that a call falls under hold; the refusal names the tightest",
        "litellm_11962_every_budget_that_binds_a_call_counts_and_the_tightest_decides",
    ),
    row(
        &["BerriAI/litellm#27381"],
        "The limit for everybody was never registered",
        "A limit binds every surface, what is passed through too",
        "litellm_27381_a_limit_of_the_organization_binds_whatever_is_called",
    ),
    row(
        &["maximhq/bifrost#3547"],
        "Each replica had the budget to itself: N replicas, N budgets",
        "Nodes spend what they were lent of one account: as many calls as there is money for, neither more nor fewer",
        "bifrost_3547_nodes_have_one_budget_between_them_and_not_one_each",
    ),
    row(
        &["maximhq/bifrost#2873", "BerriAI/litellm#37736"],
        "Calls that were passed through went past the budget",
        "They hold the most that the model can take, and are charged what they took",
        "bifrost_2873_what_is_passed_through_counts_like_any_call",
    ),
    row(
        &["langwatch/tasks#421"],
        "A budget waited for a projection of usage that came later: about 110 calls, none refused",
        "Refusing does not wait for booking",
        "langwatch_421_a_budget_holds_while_nothing_of_the_usage_has_been_booked",
    ),
    row(
        &["envoyproxy/ai-gateway#2460"],
        "Limits of each tenant were counted and never enforced",
        "Each tenant is refused at its own limit",
        "envoy_2460_each_tenant_is_held_to_its_limit_and_not_only_counted",
    ),
    row(
        &["Kong: ai-rate-limiting-advanced", "OpenRouter: workspace budgets"],
        "Usage is charged after the answer, so the call that crosses the limit always passes",
        "The call that might cross is not sent",
        "kong_ai_rate_limiting_the_call_that_would_cross_the_limit_is_not_sent",
    ),
    row(
        &["Kong: ai-rate-limiting-advanced"],
        "Limits went by the model that was asked for and not by the fallback that served",
        "Who answered is charged",
        "kong_ai_rate_limiting_who_answered_is_charged_and_not_who_was_asked_for",
    ),
    row(
        &["wso2/api-platform#2936"],
        "A limit in money never added up and never refused",
        "It adds up, and refuses",
        "wso2_2936_a_limit_in_money_adds_up_until_it_refuses",
    ),
];

const LEAKS: &[Incident] = &[
    row(
        &["BerriAI/litellm#27639", "#27735"],
        "Holds of calls that ended oddly stayed: users were refused at a spend near nothing",
        "A call that ends in whatever way gives back what it held",
        "litellm_27639_what_calls_held_whose_clients_left_is_free_again",
    ),
    row(
        &["BerriAI/litellm#30522"],
        "Clients that left a stream leaked their holds: 429 at $280 of $800",
        "What was said until then is charged, the rest is free",
        "litellm_30522_streams_that_clients_leave_take_what_was_said_and_no_more",
    ),
    row(
        &["BerriAI/litellm#40050"],
        "Blocked at $111 of $100 while the ledger had $55",
        "What a budget counts is the sum of the ledger, to the nano-dollar",
        "litellm_40050_what_a_budget_counts_is_what_the_ledger_has",
    ),
    row(
        &["BerriAI/litellm#35568"],
        "The cost of a stream that broke was released as nothing",
        "What the upstream had counted is charged",
        "litellm_35568_a_stream_that_breaks_is_charged_what_the_upstream_had_counted",
    ),
    row(
        &["mozilla-ai/otari#128"],
        "A stream that failed before its first chunk kept its hold",
        "It holds nothing",
        "otari_128_a_stream_that_fails_before_its_first_chunk_holds_nothing",
    ),
    row(
        &["BerriAI/litellm#38111"],
        "Holds of calls that were passed through piled up until the key was refused",
        "They come back with the end of the call",
        "litellm_38111_what_is_passed_through_gives_its_hold_back",
    ),
    row(
        &["BerriAI/litellm#20615"],
        "A wrong price blocked a user who had no budget",
        "Without a budget money refuses nobody",
        "litellm_20615_without_a_budget_a_wrong_price_refuses_nobody",
    ),
    row(
        &["BerriAI/litellm#20256", "#28160"],
        "Upstreams that failed or hung left places taken for ever: a key was locked until Redis was reset",
        "A place is free when its call ends, whatever ended it",
        "litellm_20256_places_of_calls_that_failed_or_were_too_slow_are_free",
    ),
    row(
        &["BerriAI/litellm#1477"],
        "A call with a wrong model left its place taken",
        "Calls that are refused leave none taken",
        "litellm_1477_calls_that_were_refused_leave_no_place_taken",
    ),
    row(
        &["BerriAI/litellm#39309"],
        "A call that one limit refused was counted by another",
        "All limits or none",
        "litellm_39309_a_call_that_one_limit_refuses_uses_nothing_of_another",
    ),
    row(
        &["BerriAI/litellm#27955"],
        "Answers from the cache kept their place",
        "They give it back",
        "litellm_27955_answers_from_the_cache_give_their_place_back",
    ),
];

const LIMITS: &[Incident] = &[
    row(
        &["BerriAI/litellm#24677", "#14450"],
        "Refused about 30 % too early; a limit of one refused the first",
        "A limit of n admits n",
        "litellm_24677_a_limit_admits_all_it_says",
    ),
    row(
        &["BerriAI/litellm#27736"],
        "Tokens were counted by each replica: the limit times the replicas",
        "Nodes share a limit",
        "litellm_27736_a_limit_in_tokens_is_one_for_all_nodes",
    ),
    row(
        &["BerriAI/litellm#10555", "#3788"],
        "A limit in tokens refused nobody",
        "What calls used adds up",
        "litellm_10555_tokens_of_one_call_after_another_add_up",
    ),
    row(
        &["BerriAI/litellm#5783"],
        "Calls at once passed a limit in tokens together",
        "What a call may use counts from its admission on",
        "litellm_5783_calls_at_once_do_not_pass_a_limit_in_tokens_together",
    ),
    row(
        &["BerriAI/litellm#18953"],
        "Who reached the limit was refused for up to five minutes",
        "Who comes at the time that `Retry-After` names is served",
        "litellm_18953_who_was_refused_is_served_at_the_time_that_was_named",
    ),
    row(
        &["Kong: ai-rate-limiting-advanced"],
        "Counters moved for answers from the cache",
        "They use no tokens",
        "kong_ai_rate_limiting_answers_from_the_cache_use_no_tokens",
    ),
    row(
        &["BerriAI/litellm#14144"],
        "Budget, limit and upstream refused with the same error",
        "Each has a code of its own",
        "litellm_14144_a_budget_a_limit_and_an_upstream_that_refuse_are_told_apart",
    ),
    row(
        &["maximhq/bifrost#5770"],
        "A route led elsewhere at $0.40 of $15 where 99 % were set",
        "At its percent, and not before",
        "bifrost_5770_a_route_leads_elsewhere_at_its_percent_and_not_before",
    ),
    row(
        &["Taewan-P/gpt_mobile#284", "antinomyhq/forge#571"],
        "402 for what a call might take, with nothing said of how to go on",
        "The refusal says what the call may take and to ask for a shorter answer; one with a small `max_tokens` goes",
        "gpt_mobile_284_a_refusal_says_what_the_call_may_take_and_a_shorter_one_goes",
    ),
];

const BILLS: &[Incident] = &[
    row(
        &["theopenco/llmgateway#3443"],
        "An upstream died, and the gateway billed $23.17 by its own guess",
        "What no upstream counted and no client got whole is not billed",
        "llmgateway_3443_what_no_upstream_counted_is_not_billed_by_a_guess",
    ),
    row(
        &["BerriAI/litellm#9812", "#5443", "#6575", "#40016"],
        "Tokens written to a cache were billed twice: $0.0913 for $0.0544",
        "Each token once, with the issue's own numbers",
        "litellm_9812_what_is_written_to_a_cache_is_billed_once",
    ),
    row(
        &["BerriAI/litellm#11364"],
        "Cached tokens at a wrong price",
        "Each kind of token at its own price",
        "litellm_11364_each_kind_of_token_is_billed_at_its_own_price",
    ),
    row(
        &["BerriAI/litellm#14457", "#33736", "#37558", "#35958"],
        "A stream whose client left was in no ledger",
        "It is, with what was said until then, marked as estimated",
        "litellm_14457_a_stream_whose_client_left_is_in_the_ledger",
    ),
    row(
        &["BerriAI/litellm#17364"],
        "A client left, and the upstream wrote on",
        "The upstream's connection is closed",
        "litellm_17364_a_client_that_leaves_ends_the_upstreams_work",
    ),
    row(
        &["BerriAI/litellm#36426", "#22010", "#28595", "#13280"],
        "Calls that were translated between languages were in no ledger",
        "They are, with the same count and cost",
        "litellm_36426_calls_that_are_translated_are_in_the_ledger_like_any_other",
    ),
    row(
        &["BerriAI/litellm#6633"],
        "Entries went by the upstream's id, and only the first was kept",
        "Entries go by ids of our own",
        "litellm_6633_every_call_has_an_entry_of_its_own",
    ),
    row(
        &["Portkey-AI/gateway#1754", "#1210"],
        "Anthropic's cached tokens were left out of `prompt_tokens`",
        "They are in it, and named",
        "portkey_1754_tokens_of_the_cache_are_part_of_the_prompt_for_clients_of_openai",
    ),
    row(
        &["Kong: ai-proxy"],
        "Gemini's running totals were added up",
        "The last one counts",
        "kong_ai_proxy_running_totals_are_not_added_up",
    ),
];

const DOORS: &[Incident] = &[
    row(
        &["BerriAI/litellm#34479"],
        "All keys were refused with 401 while the database had no connection left",
        "Who cannot be checked gets 503 and when to come back",
        "litellm_34479_who_cannot_be_checked_is_never_told_that_the_key_is_wrong",
    ),
    row(
        &["BerriAI/litellm#25553"],
        "A stale copy of a key was written back after it had been changed",
        "A revoked key stays revoked, whatever was under way with it",
        "litellm_25553_a_revoked_key_stays_revoked_whatever_was_under_way_with_it",
    ),
    row(
        &["future-agi#936"],
        "Gateways never heard when keys end",
        "A key ends at its time",
        "future_agi_936_a_key_ends_at_its_time",
    ),
    row(
        &["BerriAI/litellm#24952"],
        "`api_base` of a request was followed",
        "Credentials go to their own origin only",
        "litellm_24952_an_address_in_a_request_leads_a_credential_nowhere",
    ),
    row(
        &["LiteLLM 2026-03-18"],
        "Headers with keys lay in spend logs and traces",
        "What is noted of a call holds no header of it",
        "litellm_2026_03_18_what_is_noted_of_a_call_holds_no_secret",
    ),
];
