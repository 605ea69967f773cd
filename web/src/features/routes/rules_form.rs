//! The rules of a route in plain controls: what follows a failure, what is tried again, copies, the cache, signs of life.
//!
//! Every control reads and writes the one set of rules that the code twin shows as well. Invariant: a control changes only what it
//! names; what only the code can say (several deployments after one failure) stays until something else is chosen.

use std::sync::Arc;

use domain::route::{
    Affinity, Cache, CacheMode, CacheScope, Dropped, FailureClass, Fallback, Hedge, Overrides, Rules, Shadow,
    SlowStart, StreamFailure,
};
use leptos::prelude::*;
use ui::element_id;
use ui::field::Field as Frame;

use super::Switchboard;

/// A value and what it is called.
type Named = (String, String);

fn named(choices: &[(&str, &str)]) -> Vec<Named> {
    choices.iter().map(|(key, text)| ((*key).to_owned(), (*text).to_owned())).collect()
}

/// What a control shows of the rules, and what it makes of them. Not one type for each control: what draws them is code for each
/// type.
type Shows<T> = Arc<dyn Fn(&Rules) -> T + Send + Sync>;
type Makes<T> = Arc<dyn Fn(&mut Rules, T) + Send + Sync>;

/// A choice among words.
fn choice(
    rules: RwSignal<Rules>,
    label: &'static str,
    hint: &'static str,
    choices: Signal<Vec<Named>>,
    read: impl Fn(&Rules) -> String + Send + Sync + 'static,
    write: impl Fn(&mut Rules, &str) + Send + Sync + 'static,
) -> AnyView {
    let write = move |rules: &mut Rules, chosen: String| write(rules, &chosen);
    select((rules, label, hint), choices, Arc::new(read), Arc::new(write))
}

fn select(
    (rules, label, hint): (RwSignal<Rules>, &'static str, &'static str),
    choices: Signal<Vec<Named>>,
    read: Shows<String>,
    write: Makes<String>,
) -> AnyView {
    let id = element_id("field");
    let control_id = id.clone();
    let chosen = Memo::new(move |_| rules.with(|rules| read(rules)));
    let options = move || {
        let chosen = chosen.get();
        let option = |(key, text): Named| {
            let is_chosen = key == chosen;
            view! { <option value=key selected=is_chosen>{text}</option> }
        };
        choices.get().into_iter().map(option).collect_view()
    };
    let change = move |event: leptos::ev::Event| {
        let chosen = event_target_value(&event);
        rules.update(|rules| write(rules, chosen));
    };
    view! { <Frame id label hint><select id=control_id class="input select" on:change=change>{options}</select></Frame> }
        .into_any()
}

/// A whole number; empty where there may be none.
fn number(
    rules: RwSignal<Rules>,
    label: &'static str,
    hint: &'static str,
    read: fn(&Rules) -> Option<u32>,
    write: fn(&mut Rules, Option<u32>),
) -> AnyView {
    let id = element_id("field");
    let control_id = id.clone();
    let text = move || rules.with(read).map(|number| number.to_string()).unwrap_or_default();
    let change = move |event: leptos::ev::Event| {
        let number = event_target_value(&event).trim().parse().ok();
        rules.update(|rules| write(rules, number));
    };
    view! { <Frame id label hint><input id=control_id class="input" type="number" min="0" prop:value=text on:change=change /></Frame> }
        .into_any()
}

const NONE: &str = "";
const STOP: &str = "stop";
const SEVERAL: &str = "several";

fn shown_fallback(rules: &Rules, on: FailureClass) -> String {
    match rules.fallback(on) {
        None => NONE.to_owned(),
        Some(Fallback { stop: true, .. }) => STOP.to_owned(),
        Some(Fallback { to, .. }) => match &to[..] {
            [] => NONE.to_owned(),
            [only] => only.to_string(),
            _ => SEVERAL.to_owned(),
        },
    }
}

fn set_fallback(rules: &mut Rules, on: FailureClass, chosen: &str) {
    if chosen == SEVERAL {
        return;
    }
    rules.fallbacks.retain(|fallback| fallback.on != on);
    if chosen == STOP {
        rules.fallbacks.push(Fallback { on, to: Vec::new(), stop: true });
    } else if let Ok(id) = chosen.parse() {
        rules.fallbacks.push(Fallback { on, to: vec![id], stop: false });
    }
}

fn fallbacks(board: Switchboard, rules: RwSignal<Rules>) -> AnyView {
    let classes = [
        (FailureClass::Error, "After an error"),
        (FailureClass::Timeout, "After a timeout"),
        (FailureClass::RateLimit, "When limited by the provider"),
        (FailureClass::ContextWindow, "When the prompt does not fit"),
        (FailureClass::ContentFilter, "When the content is refused"),
    ];
    let fields = classes.map(|(on, label)| {
        let choices = Signal::derive(move || {
            let mut choices = named(&[(NONE, "As the targets say"), (STOP, "End the call")]);
            if rules.with(|rules| shown_fallback(rules, on) == SEVERAL) {
                choices.extend(named(&[(SEVERAL, "Several, as the code says")]));
            }
            choices.extend(deployments(board));
            choices
        });
        let read = move |rules: &Rules| shown_fallback(rules, on);
        choice(rules, label, "", choices, read, move |rules, chosen| set_fallback(rules, on, chosen))
    });
    fields.collect_view().into_any()
}

fn deployments(board: Switchboard) -> Vec<Named> {
    let all = board.deployments.items().get();
    all.into_iter().map(|it| (it.id.to_string(), format!("{} ({})", it.name, it.provider))).collect()
}

fn streams(rules: RwSignal<Rules>) -> AnyView {
    let broken = Signal::stored(named(&[("error", "It ends with an error"), ("continue", "Another target goes on")]));
    let hedged = "Silence before a second target is asked at the same time; empty for never.";
    view! {
        {choice(rules, "When a stream breaks off", "", broken,
            |rules| if rules.on_stream_failure == StreamFailure::Continue { "continue" } else { "error" }.to_owned(),
            |rules, chosen| rules.on_stream_failure = if chosen == "continue" { StreamFailure::Continue } else { StreamFailure::Error })}
        {number(rules, "Hedge after (ms)", hedged,
            |rules| rules.hedge.map(|hedge| hedge.after_ms),
            |rules, after| rules.hedge = after.map(|after_ms| Hedge { after_ms }))}
        {number(rules, "Retries at once", "Beyond one try a target and call, over all calls of a node.",
            |rules| Some(rules.retry_budget.burst),
            |rules, burst| rules.retry_budget.burst = burst.unwrap_or(rules.retry_budget.burst))}
        {number(rules, "Retries a second", "How many more are earned.",
            |rules| Some(rules.retry_budget.per_second),
            |rules, more| rules.retry_budget.per_second = more.unwrap_or(rules.retry_budget.per_second))}
        {number(rules, "Sign of life every (ms)", "A deployment that is out is asked for its models; empty for never.",
            |rules| rules.probe_interval_ms, |rules, interval| rules.probe_interval_ms = interval)}
        {number(rules, "Slow start (ms)", "Over this time a deployment that came back gets its share again.",
            |rules| Some(rules.slow_start_ms.0),
            |rules, long| rules.slow_start_ms = SlowStart(long.unwrap_or(rules.slow_start_ms.0)))}
    }
    .into_any()
}

fn copies(board: Switchboard, rules: RwSignal<Rules>) -> AnyView {
    let places = Signal::derive(move || [named(&[(NONE, "Nowhere")]), deployments(board)].concat());
    let write = |rules: &mut Rules, chosen: &str| {
        let percent = rules.shadow.map_or(10, |shadow| shadow.percent);
        rules.shadow = chosen.parse().ok().map(|deployment_id| Shadow { deployment_id, percent });
    };
    view! {
        {choice(rules, "Copies of calls go to", "Their answers are thrown away, and paid for.", places,
            |rules| rules.shadow.map(|shadow| shadow.deployment_id.to_string()).unwrap_or_default(), write)}
        {number(rules, "Percent of calls copied", "",
            |rules| rules.shadow.map(|shadow| u32::from(shadow.percent)),
            |rules, percent| if let (Some(shadow), Some(percent)) = (&mut rules.shadow, percent) {
                shadow.percent = u8::try_from(percent.min(100)).unwrap_or(100);
            })}
    }
    .into_any()
}

const SCOPES: [(CacheScope, &str); 4] = [
    (CacheScope::Key, "Calls of one virtual key"),
    (CacheScope::EndUser, "Calls for one end user"),
    (CacheScope::Environment, "All keys of an environment"),
    (CacheScope::Workspace, "The whole workspace"),
];

fn cache(rules: RwSignal<Rules>) -> AnyView {
    let modes = [("off", "Never"), ("always", "Unless a call says no"), ("on_request", "When a call asks for it")];
    let scopes = SCOPES.map(|(scope, text)| (scope.as_str().to_owned(), text.to_owned())).to_vec();
    let write_mode = |rules: &mut Rules, chosen: &str| {
        let mode = if chosen == "on_request" { CacheMode::OnRequest } else { CacheMode::Always };
        let kept = rules.cache.take().unwrap_or_default();
        rules.cache = (chosen != "off").then_some(Cache { mode, ..kept });
    };
    view! {
        {choice(rules, "The same answer again", "", Signal::stored(named(&modes)),
            |rules| match rules.cache.as_ref().map(|cache| cache.mode) {
                None => "off",
                Some(CacheMode::Always) => "always",
                Some(CacheMode::OnRequest) => "on_request",
            }.to_owned(), write_mode)}
        {number(rules, "For how long (s)", "",
            |rules| rules.cache.as_ref().map(|cache| cache.ttl_s),
            |rules, ttl| if let (Some(cache), Some(ttl)) = (&mut rules.cache, ttl) { cache.ttl_s = ttl })}
        {choice(rules, "Who shares answers", "", Signal::stored(scopes),
            |rules| rules.cache.as_ref().map_or(CacheScope::Key, |cache| cache.scope).as_str().to_owned(),
            |rules, chosen| if let (Some(cache), Some((scope, _))) = (&mut rules.cache, SCOPES.iter().find(|it| it.0.as_str() == chosen)) {
                cache.scope = *scope;
            })}
    }
    .into_any()
}

fn requests(rules: RwSignal<Rules>) -> AnyView {
    let kept = [("off", "Nothing"), ("conversation", "Its conversation"), ("prefix", "Its beginning, too")];
    let may = || Signal::stored(named(&[("allowed", "Yes"), ("refused", "No")]));
    let word = |is_allowed: bool| if is_allowed { "allowed" } else { "refused" }.to_owned();
    view! {
        {choice(rules, "What keeps a call on one deployment", "There its provider's prompt cache is met again.", Signal::stored(named(&kept)),
            |rules| match rules.affinity {
                Affinity::Off => "off",
                Affinity::Conversation => "conversation",
                Affinity::Prefix => "prefix",
            }.to_owned(),
            |rules, chosen| rules.affinity = match chosen {
                "off" => Affinity::Off,
                "prefix" => Affinity::Prefix,
                _ => Affinity::Conversation,
            })}
        {choice(rules, "Requests may choose a target", "", may(), move |rules| word(rules.overrides == Overrides::Allowed),
            |rules, chosen| rules.overrides = if chosen == "refused" { Overrides::Refused } else { Overrides::Allowed })}
        {choice(rules, "Parts that a target lacks may be left out", "They are named in the answer.", may(), move |rules| word(rules.dropped == Dropped::Allowed),
            |rules, chosen| rules.dropped = if chosen == "refused" { Dropped::Refused } else { Dropped::Allowed })}
    }
    .into_any()
}

/// All rules, folded away by what they are about.
pub(super) fn view_of(board: Switchboard, rules: RwSignal<Rules>) -> AnyView {
    let fold = |summary: &'static str, fields: AnyView| view! { <details class="more"><summary>{summary}</summary><div class="columns-2">{fields}</div></details> };
    view! {
        {fold("After a failure", fallbacks(board, rules))}
        {fold("Streams, hedges and retries", streams(rules))}
        {fold("Copies and cache", view! { {copies(board, rules)} {cache(rules)} }.into_any())}
        {fold("Requests", requests(rules))}
    }
    .into_any()
}

#[cfg(test)]
mod tests {
    use domain::DeploymentId;

    use super::*;

    #[test]
    fn one_rule_a_failure_and_what_only_the_code_says_stays() {
        let (one, two) = (DeploymentId::from_uuid(1), DeploymentId::from_uuid(2));
        let mut rules = Rules::default();
        let on = FailureClass::Timeout;
        for (chosen, shown) in [(STOP.to_owned(), STOP.to_owned()), (one.to_string(), one.to_string())] {
            set_fallback(&mut rules, on, &chosen);
            assert_eq!((rules.fallbacks.len(), shown_fallback(&rules, on)), (1, shown));
        }
        assert_eq!(shown_fallback(&rules, FailureClass::Error), NONE);
        set_fallback(&mut rules, on, NONE);
        assert_eq!(rules, Rules::default());
        rules.fallbacks.push(Fallback { on, to: vec![one, two], stop: false });
        set_fallback(&mut rules, on, SEVERAL);
        assert_eq!((shown_fallback(&rules, on).as_str(), rules.fallbacks[0].to.len()), (SEVERAL, 2));
    }
}
